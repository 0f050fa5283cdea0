metadata description = 'The analytics rules of Microsoft Sentinel.'

targetScope = 'resourceGroup'

@description('The Log Analytics workspace that Microsoft Sentinel is switched on for, in this resource group.')
param workspaceName string

@description('Whether the rules run. Off, they are there to be looked at.')
param enabled bool = true

// What the rules are called, how severe they are and what they map stands in the YAML (Sentinel's repository format), the queries in
// infra/kql/rules; a test holds the YAML's copy of a query against its file.
var unknown = loadYamlContent('../sentinel/unknown.yaml')
var monitorSilent = loadYamlContent('../sentinel/monitor-silent.yaml')
var monitorBlind = loadYamlContent('../sentinel/monitor-blind.yaml')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

// No stable API version knows near-real-time rules yet
module nearRealTime 'sentinel-nrt.bicep' = {
  name: 'keydrift-sentinel-nrt'
  params: {
    workspaceName: workspaceName
    enabled: enabled
  }
}

resource unknownRule 'Microsoft.SecurityInsights/alertRules@2025-09-01' = {
  scope: workspace
  name: unknown.id
  kind: 'Scheduled'
  properties: {
    displayName: unknown.name
    description: unknown.description
    enabled: enabled
    severity: unknown.severity
    tactics: unknown.tactics
    techniques: unknown.relevantTechniques
    query: loadTextContent('../kql/rules/unknown.kql')
    queryFrequency: 'PT${toUpper(unknown.queryFrequency)}'
    queryPeriod: 'PT${toUpper(unknown.queryPeriod)}'
    triggerOperator: 'GreaterThan'
    triggerThreshold: unknown.triggerThreshold
    suppressionEnabled: false
    suppressionDuration: 'PT5H'
    entityMappings: unknown.entityMappings
    customDetails: unknown.customDetails
    alertDetailsOverride: unknown.alertDetailsOverride
    eventGroupingSettings: unknown.eventGroupingSettings
    incidentConfiguration: unknown.incidentConfiguration
  }
}

resource monitorSilentRule 'Microsoft.SecurityInsights/alertRules@2025-09-01' = {
  scope: workspace
  name: monitorSilent.id
  kind: 'Scheduled'
  properties: {
    displayName: monitorSilent.name
    description: monitorSilent.description
    enabled: enabled
    severity: monitorSilent.severity
    tactics: monitorSilent.tactics
    techniques: monitorSilent.relevantTechniques
    query: loadTextContent('../kql/rules/monitor-silent.kql')
    queryFrequency: 'PT${toUpper(monitorSilent.queryFrequency)}'
    queryPeriod: 'PT${toUpper(monitorSilent.queryPeriod)}'
    triggerOperator: 'GreaterThan'
    triggerThreshold: monitorSilent.triggerThreshold
    suppressionEnabled: false
    suppressionDuration: 'PT5H'
    entityMappings: monitorSilent.entityMappings
    customDetails: monitorSilent.customDetails
    alertDetailsOverride: monitorSilent.alertDetailsOverride
    eventGroupingSettings: monitorSilent.eventGroupingSettings
    incidentConfiguration: monitorSilent.incidentConfiguration
  }
}

resource monitorBlindRule 'Microsoft.SecurityInsights/alertRules@2025-09-01' = {
  scope: workspace
  name: monitorBlind.id
  kind: 'Scheduled'
  properties: {
    displayName: monitorBlind.name
    description: monitorBlind.description
    enabled: enabled
    severity: monitorBlind.severity
    tactics: monitorBlind.tactics
    techniques: monitorBlind.relevantTechniques
    query: loadTextContent('../kql/rules/monitor-blind.kql')
    queryFrequency: 'PT${toUpper(monitorBlind.queryFrequency)}'
    queryPeriod: 'PT${toUpper(monitorBlind.queryPeriod)}'
    triggerOperator: 'GreaterThan'
    triggerThreshold: monitorBlind.triggerThreshold
    suppressionEnabled: false
    suppressionDuration: 'PT5H'
    entityMappings: monitorBlind.entityMappings
    customDetails: monitorBlind.customDetails
    alertDetailsOverride: monitorBlind.alertDetailsOverride
    eventGroupingSettings: monitorBlind.eventGroupingSettings
    incidentConfiguration: monitorBlind.incidentConfiguration
  }
}
