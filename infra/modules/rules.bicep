metadata description = 'Log alerts of Azure Monitor on the tables of keydrift, for those who do without Microsoft Sentinel.'

targetScope = 'resourceGroup'

@description('The Log Analytics workspace, which exists already in this resource group and holds the tables of keydrift.')
param workspaceName string

@description('Region of the rules. It has to be the region of the workspace.')
param location string = resourceGroup().location

@description('Resource ids of the action groups that are told. None: alerts are shown in the portal only.')
param actionGroupIds array = []

@description('Whether the rules run.')
param enabled bool = true

@description('Whether the two rules on the monitor itself are made; false where health-alerts.bicep makes them.')
param watchMonitor bool = true

@description('Tags of the rules.')
param tags object = {}

// Severity 1 is Error, 2 Warning. A dimension makes one alert of each of its values: one a cause, one a check and source.
var byCause = {
  name: 'CauseKey'
  operator: 'Include'
  values: [
    '*'
  ]
}
var byHeadline = {
  name: 'Headline'
  operator: 'Include'
  values: [
    '*'
  ]
}
var byActor = {
  name: 'ActorName'
  operator: 'Include'
  values: [
    '*'
  ]
}
var byCheck = {
  name: 'Check'
  operator: 'Include'
  values: [
    '*'
  ]
}
var bySource = {
  name: 'Source'
  operator: 'Include'
  values: [
    '*'
  ]
}
var rules = [
  {
    name: 'keydrift-lost'
    title: 'keydrift: Azure Backup lost the use of a key'
    description: 'Until it is given back, backups and restores that depend on it fail or will fail.'
    severity: 1
    frequency: 'PT5M'
    window: 'PT1H'
    dimensions: [
      byCause
      byHeadline
      byActor
    ]
    query: loadTextContent('../kql/rules/lost.kql')
  }
  {
    name: 'keydrift-at-risk'
    title: 'keydrift: A key of Azure Backup will be lost by itself'
    description: 'A key, a secret or a grant ends, encryption is inconsistent, or a rotation is stuck.'
    severity: 2
    frequency: 'PT15M'
    window: 'PT1H'
    dimensions: [
      byCause
      byHeadline
    ]
    query: loadTextContent('../kql/rules/at-risk.kql')
  }
  {
    name: 'keydrift-key-changed'
    title: 'keydrift: A consumer of Azure Backup uses another key'
    description: 'Whoever points backups at a key of their own can make them unreadable later.'
    severity: 2
    frequency: 'PT5M'
    window: 'PT1H'
    dimensions: [
      byCause
      byHeadline
      byActor
    ]
    query: loadTextContent('../kql/rules/key-changed.kql')
  }
  {
    name: 'keydrift-unknown'
    title: 'keydrift: A key of Azure Backup cannot be judged for an hour'
    description: 'Something that its verdict needs cannot be read. A loss may hide there.'
    severity: 2
    frequency: 'PT1H'
    window: 'PT3H'
    dimensions: [
      byCause
      byHeadline
    ]
    query: loadTextContent('../kql/rules/unknown.kql')
  }
]
var monitorRules = [
  {
    name: 'keydrift-monitor-silent'
    title: 'keydrift: The monitor is silent'
    description: 'keydrift has sent no heartbeat for an hour. Whatever is lost meanwhile, nobody is told.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT2H'
    dimensions: []
    query: loadTextContent('../kql/rules/monitor-silent.kql')
  }
  {
    name: 'keydrift-monitor-blind'
    title: 'keydrift: The monitor does not see or does not deliver'
    description: 'A check of keydrift itself failed or could not be made.'
    severity: 1
    frequency: 'PT15M'
    window: 'PT2H'
    dimensions: [
      byCheck
      bySource
    ]
    query: loadTextContent('../kql/rules/monitor-blind.kql')
  }
]
var made = watchMonitor ? concat(rules, monitorRules) : rules

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for each in made: {
    name: each.name
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: each.title
      description: each.description
      severity: each.severity
      enabled: enabled
      scopes: [
        workspace.id
      ]
      evaluationFrequency: each.frequency
      windowSize: each.window
      criteria: {
        allOf: [
          {
            query: each.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            dimensions: each.dimensions
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      // Windows overlap, so that a row that arrives late is seen; a rule that keeps state tells of it once
      autoMitigate: true
      // A table that was made a moment ago is not known to the validation yet
      skipQueryValidation: true
      actions: {
        actionGroups: actionGroupIds
      }
    }
  }
]
