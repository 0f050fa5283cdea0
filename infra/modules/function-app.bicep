metadata description = 'The function app on Flex Consumption, its settings, and no password to publish with.'

param location string
param planName string
param name string
param tags object

@description('The identity that the monitor runs as: its resource id.')
param identityId string

@description('The same identity\'s client id.')
param identityClientId string

param storageAccountName string
param deploymentContainer string

@description('Connection string of Application Insights; with its local authentication off it is no secret.')
param insightsConnectionString string

@description('The product\'s settings by name (docs/settings.md).')
param settings object

@description('Subnet that the app sends through. Empty: none.')
param subnetId string

param maximumInstances int

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageAccountName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  // checkov:skip=CKV_AZURE_225: a sweep makes up for a zone that is lost, and zone redundancy is billed for always ready instances
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

// https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity
// FUNCTIONS_WORKER_RUNTIME is not among them: Flex Consumption takes the runtime from functionAppConfig
var hostSettings = {
  AzureWebJobsStorage__accountName: storageAccountName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AZURE_CLIENT_ID: identityClientId
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  // checkov:skip=CKV_AZURE_17: Event Grid and azd bring tokens, not certificates
  // checkov:skip=CKV_AZURE_212: Flex Consumption scales from none by its triggers
  // checkov:skip=CKV_AZURE_213: Flex Consumption has no health check path; the heartbeat's absence is the alarm
  // checkov:skip=CKV_AZURE_222: azd deploys, and Event Grid calls where it is told to, from public addresses; every route asks for a key
  name: name
  location: location
  // azd finds the app by this tag, and deploys the service of that name to it
  tags: union(tags, { 'azd-service-name': 'monitor' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${account.properties.primaryEndpoints.blob}${deploymentContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: 2048
        maximumInstanceCount: maximumInstances
      }
    }
    siteConfig: {
      appSettings: [for each in items(union(hostSettings, settings)): { name: each.key, value: each.value }]
      ftpsState: 'Disabled'
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
    }
  }
}

resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

output id string = app.id
