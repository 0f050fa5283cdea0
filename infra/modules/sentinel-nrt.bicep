metadata description = 'The near-real-time analytics rules of Microsoft Sentinel: they run every minute on what arrived in the last.'

targetScope = 'resourceGroup'

@description('The Log Analytics workspace that Microsoft Sentinel is switched on for, in this resource group.')
param workspaceName string

@description('Whether the rules run. Off, they are there to be looked at.')
param enabled bool = true

var lost = loadYamlContent('../sentinel/lost.yaml')
var atRisk = loadYamlContent('../sentinel/at-risk.yaml')
var keyChanged = loadYamlContent('../sentinel/key-changed.yaml')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

// Only preview API versions have the kind NRT; azurerm's provider and Microsoft's samples use them for it too.
resource lostRule 'Microsoft.SecurityInsights/alertRules@2025-01-01-preview' = {
  scope: workspace
  name: lost.id
  kind: 'NRT'
  properties: {
    displayName: lost.name
    description: lost.description
    enabled: enabled
    severity: lost.severity
    tactics: lost.tactics
    techniques: lost.relevantTechniques
    query: loadTextContent('../kql/rules/lost.kql')
    suppressionEnabled: false
    suppressionDuration: 'PT5H'
    entityMappings: lost.entityMappings
    customDetails: lost.customDetails
    alertDetailsOverride: lost.alertDetailsOverride
    eventGroupingSettings: lost.eventGroupingSettings
    incidentConfiguration: lost.incidentConfiguration
  }
}

resource atRiskRule 'Microsoft.SecurityInsights/alertRules@2025-01-01-preview' = {
  scope: workspace
  name: atRisk.id
  kind: 'NRT'
  properties: {
    displayName: atRisk.name
    description: atRisk.description
    enabled: enabled
    severity: atRisk.severity
    tactics: atRisk.tactics
    techniques: atRisk.relevantTechniques
    query: loadTextContent('../kql/rules/at-risk.kql')
    suppressionEnabled: false
    suppressionDuration: 'PT5H'
    entityMappings: atRisk.entityMappings
    customDetails: atRisk.customDetails
    alertDetailsOverride: atRisk.alertDetailsOverride
    eventGroupingSettings: atRisk.eventGroupingSettings
    incidentConfiguration: atRisk.incidentConfiguration
  }
}

resource keyChangedRule 'Microsoft.SecurityInsights/alertRules@2025-01-01-preview' = {
  scope: workspace
  name: keyChanged.id
  kind: 'NRT'
  properties: {
    displayName: keyChanged.name
    description: keyChanged.description
    enabled: enabled
    severity: keyChanged.severity
    tactics: keyChanged.tactics
    techniques: keyChanged.relevantTechniques
    query: loadTextContent('../kql/rules/key-changed.kql')
    suppressionEnabled: false
    suppressionDuration: 'PT5H'
    entityMappings: keyChanged.entityMappings
    customDetails: keyChanged.customDetails
    alertDetailsOverride: keyChanged.alertDetailsOverride
    eventGroupingSettings: keyChanged.eventGroupingSettings
    incidentConfiguration: keyChanged.incidentConfiguration
  }
}
