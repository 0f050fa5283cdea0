metadata description = 'Application Insights for the function app\'s own logs: signed in to with Microsoft Entra ID, never with a key.'

param location string
param name string
param tags object
param workspaceId string

@description('The identity that the monitor runs as.')
param principalId string

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: name
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true
    WorkspaceResourceId: workspaceId
  }
}

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: component
  name: guid(component.id, principalId, metricsPublisher)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
  }
}

@description('Tells where to send, and is no secret: the component refuses whoever brings no token.')
output connectionString string = component.properties.ConnectionString
