metadata description = 'The alert table and the rule that the function app sends its rows through.'

targetScope = 'resourceGroup'

@description('The Log Analytics workspace, which exists already in this resource group.')
param workspaceName string

@description('Region of the data collection rule. It has to be the region of the workspace.')
param location string = resourceGroup().location

@description('How long alerts stay in the table for interactive queries, in days.')
@minValue(4)
@maxValue(730)
param retentionInDays int = 90

@description('Name of the data collection rule.')
param dataCollectionRuleName string = 'dcr-keydrift'

@description('Tags of the data collection rule. A table carries none.')
param tags object = {}

var stream = 'Custom-KeyDriftAlerts_CL'
var destination = 'workspace'

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

// Columns are those of src/keydrift/tables.py; a test holds both lists here against it. Log Analytics reserves `Title` and
// `TenantId`: the rows carry them, the rule drops them, and the table holds `AlertTitle` and `EntraTenantId`.
resource alerts 'Microsoft.OperationalInsights/workspaces/tables@2025-07-01' = {
  parent: workspace
  name: 'KeyDriftAlerts_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionInDays
    totalRetentionInDays: retentionInDays
    schema: {
      name: 'KeyDriftAlerts_CL'
      description: 'Who changed what, which backups are endangered, by when, and the command that repairs it.'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime' }
        { name: 'OccurredAt', type: 'dateTime' }
        { name: 'ReceivedAt', type: 'dateTime' }
        { name: 'ReadAt', type: 'dateTime' }
        { name: 'DetectedAt', type: 'dateTime' }
        { name: 'EffectiveBy', type: 'dateTime' }
        { name: 'LastRecoveryPointAt', type: 'dateTime' }
        { name: 'FirstBackupAtRiskAt', type: 'dateTime' }
        { name: 'AlertId', type: 'string' }
        { name: 'SchemaVersion', type: 'string' }
        { name: 'Kind', type: 'string' }
        { name: 'Severity', type: 'string' }
        { name: 'Verdict', type: 'string' }
        { name: 'PreviousVerdict', type: 'string' }
        { name: 'BindingId', type: 'string' }
        { name: 'Scenario', type: 'string' }
        { name: 'AlertTitle', type: 'string' }
        { name: 'Summary', type: 'string' }
        { name: 'Reason', type: 'string' }
        { name: 'Remediation', type: 'string' }
        { name: 'PermissionModel', type: 'string' }
        { name: 'KeyStoreId', type: 'string' }
        { name: 'KeyStoreName', type: 'string' }
        { name: 'KeyUri', type: 'string' }
        { name: 'SubscriptionId', type: 'string' }
        { name: 'ResourceGroup', type: 'string' }
        { name: 'PrincipalObjectId', type: 'string' }
        { name: 'PrincipalName', type: 'string' }
        { name: 'DetectedVia', type: 'string' }
        { name: 'EventId', type: 'string' }
        { name: 'EventType', type: 'string' }
        { name: 'OperationName', type: 'string' }
        { name: 'CorrelationId', type: 'string' }
        { name: 'ActorObjectId', type: 'string' }
        { name: 'ActorName', type: 'string' }
        { name: 'ActorAppId', type: 'string' }
        { name: 'ActorIp', type: 'string' }
        { name: 'ActorConfidence', type: 'string' }
        { name: 'ExemptionReason', type: 'string' }
        { name: 'CauseKey', type: 'string' }
        { name: 'EntraTenantId', type: 'string' }
        { name: 'MonitorVersion', type: 'string' }
        { name: 'FindingCodes', type: 'dynamic' }
        { name: 'Findings', type: 'dynamic' }
        { name: 'Missing', type: 'dynamic' }
        { name: 'Consumers', type: 'dynamic' }
        { name: 'ProtectedItems', type: 'dynamic' }
        { name: 'Sequence', type: 'long' }
        { name: 'OutageSeconds', type: 'long' }
        { name: 'ConsumerCount', type: 'int' }
        { name: 'ProtectedItemCount', type: 'int' }
        { name: 'Exempted', type: 'boolean' }
      ]
    }
  }
}

// Only a rule created with kind Direct has an ingestion endpoint of its own; it cannot be added to an existing rule.
resource rule 'Microsoft.Insights/dataCollectionRules@2024-03-11' = {
  name: dataCollectionRuleName
  location: location
  tags: tags
  kind: 'Direct'
  properties: {
    description: 'Takes the alerts of keydrift.'
    streamDeclarations: {
      'Custom-KeyDriftAlerts_CL': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'OccurredAt', type: 'datetime' }
          { name: 'ReceivedAt', type: 'datetime' }
          { name: 'ReadAt', type: 'datetime' }
          { name: 'DetectedAt', type: 'datetime' }
          { name: 'EffectiveBy', type: 'datetime' }
          { name: 'LastRecoveryPointAt', type: 'datetime' }
          { name: 'FirstBackupAtRiskAt', type: 'datetime' }
          { name: 'AlertId', type: 'string' }
          { name: 'SchemaVersion', type: 'string' }
          { name: 'Kind', type: 'string' }
          { name: 'Severity', type: 'string' }
          { name: 'Verdict', type: 'string' }
          { name: 'PreviousVerdict', type: 'string' }
          { name: 'BindingId', type: 'string' }
          { name: 'Scenario', type: 'string' }
          { name: 'Title', type: 'string' }
          { name: 'AlertTitle', type: 'string' }
          { name: 'Summary', type: 'string' }
          { name: 'Reason', type: 'string' }
          { name: 'Remediation', type: 'string' }
          { name: 'PermissionModel', type: 'string' }
          { name: 'KeyStoreId', type: 'string' }
          { name: 'KeyStoreName', type: 'string' }
          { name: 'KeyUri', type: 'string' }
          { name: 'SubscriptionId', type: 'string' }
          { name: 'ResourceGroup', type: 'string' }
          { name: 'PrincipalObjectId', type: 'string' }
          { name: 'PrincipalName', type: 'string' }
          { name: 'DetectedVia', type: 'string' }
          { name: 'EventId', type: 'string' }
          { name: 'EventType', type: 'string' }
          { name: 'OperationName', type: 'string' }
          { name: 'CorrelationId', type: 'string' }
          { name: 'ActorObjectId', type: 'string' }
          { name: 'ActorName', type: 'string' }
          { name: 'ActorAppId', type: 'string' }
          { name: 'ActorIp', type: 'string' }
          { name: 'ActorConfidence', type: 'string' }
          { name: 'ExemptionReason', type: 'string' }
          { name: 'CauseKey', type: 'string' }
          { name: 'TenantId', type: 'string' }
          { name: 'EntraTenantId', type: 'string' }
          { name: 'MonitorVersion', type: 'string' }
          { name: 'FindingCodes', type: 'dynamic' }
          { name: 'Findings', type: 'dynamic' }
          { name: 'Missing', type: 'dynamic' }
          { name: 'Consumers', type: 'dynamic' }
          { name: 'ProtectedItems', type: 'dynamic' }
          { name: 'Sequence', type: 'long' }
          { name: 'OutageSeconds', type: 'long' }
          { name: 'ConsumerCount', type: 'int' }
          { name: 'ProtectedItemCount', type: 'int' }
          { name: 'Exempted', type: 'boolean' }
        ]
      }
    }
    destinations: {
      logAnalytics: [
        {
          name: destination
          workspaceResourceId: workspace.id
        }
      ]
    }
    dataFlows: [
      {
        streams: [
          stream
        ]
        destinations: [
          destination
        ]
        transformKql: 'source | project-away Title, TenantId'
        outputStream: stream
      }
    ]
  }
  // The rule is refused while the table that its output stream names is not there.
  dependsOn: [
    alerts
  ]
}

@description('Immutable id of the rule (dcr-…): the setting KEYDRIFT_DCR_RULE_ID.')
output dataCollectionRuleImmutableId string = rule.properties.immutableId

@description('Logs ingestion endpoint of the rule: the setting KEYDRIFT_DCR_ENDPOINT.')
output logsIngestionEndpoint string = rule.properties.endpoints.logsIngestion

@description('Resource id of the rule: the scope of the role assignment Monitoring Metrics Publisher.')
output dataCollectionRuleId string = rule.id
