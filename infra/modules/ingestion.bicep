metadata description = 'The data collection rule that the monitor sends its rows through, and the right to send.'

@description('Region of the workspace: the rule has to be there.')
param location string

param name string
param tags object
param workspaceId string

@description('The identity that the monitor runs as.')
param principalId string

// Made from src/keydrift/tables.py by `make tables`; a test holds them equal. A column that a stream does not declare is dropped
// without an error
var logs = loadJsonContent('../tables.json')
var destination = 'workspace'
var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher

// Only a rule created with kind Direct has an ingestion endpoint of its own; it cannot be added to an existing rule.
resource rule 'Microsoft.Insights/dataCollectionRules@2024-03-11' = {
  name: name
  location: location
  tags: tags
  kind: 'Direct'
  properties: {
    description: 'Takes the rows of keydrift: alerts, the last proof of each key binding, the monitor\'s own health.'
    streamDeclarations: logs.streams
    destinations: {
      logAnalytics: [
        {
          name: destination
          workspaceResourceId: workspaceId
        }
      ]
    }
    dataFlows: [
      for table in logs.tables: {
        streams: [
          table.stream
        ]
        destinations: [
          destination
        ]
        transformKql: table.transformKql
        outputStream: table.stream
      }
    ]
  }
}

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: rule
  name: guid(rule.id, principalId, metricsPublisher)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
  }
}

@description('Immutable id of the rule (dcr-…): the setting KEYDRIFT_DCR_RULE_ID.')
output ruleId string = rule.properties.immutableId

@description('Logs ingestion endpoint of the rule: the setting KEYDRIFT_DCR_ENDPOINT.')
output endpoint string = rule.properties.endpoints.logsIngestion
