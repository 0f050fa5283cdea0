metadata description = 'Alert rules on the monitor itself: silence is an incident.'

@description('Region of the workspace.')
param location string

param tags object
param workspaceId string

@description('Ids of the action groups that are told. None: the alert is only shown in Azure Monitor.')
param actionGroups array

@description('How long the monitor may be silent: ISO 8601, longer than three sweeps take to fall due.')
param heartbeatWindow string

resource silence 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'keydrift-no-heartbeat'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'keydrift: no heartbeat'
    description: 'The monitor of backup keys has not reported for ${heartbeatWindow}: nobody watches. Run `keydrift doctor`.'
    severity: 1
    enabled: true
    autoMitigate: true
    skipQueryValidation: true // the table may be seconds old, and not be known to queries yet
    evaluationFrequency: 'PT15M'
    windowSize: heartbeatWindow
    scopes: [
      workspaceId
    ]
    criteria: {
      allOf: [
        {
          // `summarize` without `by` answers one row even where there are none, so zero is a value and not an absence
          query: 'KeyDriftHealth_CL | where Check == "heartbeat" | summarize Heartbeats = count()'
          timeAggregation: 'Total'
          metricMeasureColumn: 'Heartbeats'
          operator: 'LessThan'
          threshold: 1
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: actionGroups
    }
  }
}

resource failure 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'keydrift-unhealthy'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'keydrift: a check of the monitor fails'
    description: 'The monitor of backup keys reports a failed check of itself: see Summary and Remediation in KeyDriftHealth_CL.'
    severity: 2
    enabled: true
    autoMitigate: true
    skipQueryValidation: true // the table may be seconds old, and not be known to queries yet
    evaluationFrequency: 'PT15M'
    windowSize: heartbeatWindow
    scopes: [
      workspaceId
    ]
    criteria: {
      allOf: [
        {
          // The newest row of a check and source counts: what was repaired within the window fires no more
          query: 'KeyDriftHealth_CL | summarize arg_max(TimeGenerated, Status) by Check, Source | where Status == "failed" | summarize Failures = count() by Check'
          timeAggregation: 'Total'
          metricMeasureColumn: 'Failures'
          dimensions: [
            {
              name: 'Check'
              operator: 'Include'
              values: [
                '*'
              ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: actionGroups
    }
  }
}
