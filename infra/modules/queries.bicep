metadata description = 'The saved functions and hunting queries of keydrift in a Log Analytics workspace.'

targetScope = 'resourceGroup'

@description('The Log Analytics workspace, which exists already in this resource group and holds the tables of keydrift.')
param workspaceName string

// What a function answers and returns stands at the top of its file. `parameters` repeats the file's line; a test compares them.
var functions = [
  {
    name: 'KeyDriftBlindSpots'
    parameters: 'hours:int=24'
    query: loadTextContent('../kql/functions/KeyDriftBlindSpots.kql')
  }
  {
    name: 'KeyDriftCurrentState'
    parameters: ''
    query: loadTextContent('../kql/functions/KeyDriftCurrentState.kql')
  }
  {
    name: 'KeyDriftMonitorHealth'
    parameters: 'silentMinutes:int=60'
    query: loadTextContent('../kql/functions/KeyDriftMonitorHealth.kql')
  }
  {
    name: 'KeyDriftNotProven'
    parameters: 'hours:int=24'
    query: loadTextContent('../kql/functions/KeyDriftNotProven.kql')
  }
  {
    name: 'KeyDriftOpenAlerts'
    parameters: ''
    query: loadTextContent('../kql/functions/KeyDriftOpenAlerts.kql')
  }
  {
    name: 'KeyDriftTimeToDetect'
    parameters: ''
    query: loadTextContent('../kql/functions/KeyDriftTimeToDetect.kql')
  }
  {
    name: 'KeyDriftTimeToRestore'
    parameters: ''
    query: loadTextContent('../kql/functions/KeyDriftTimeToRestore.kql')
  }
  {
    name: 'KeyDriftUsableSince'
    parameters: ''
    query: loadTextContent('../kql/functions/KeyDriftUsableSince.kql')
  }
  {
    name: 'vimAlertEventKeyDrift'
    parameters: 'starttime:datetime=datetime(null),endtime:datetime=datetime(null),ipaddr_has_any_prefix:dynamic=dynamic([]),hostname_has_any:dynamic=dynamic([]),username_has_any:dynamic=dynamic([]),attacktactics_has_any:dynamic=dynamic([]),attacktechniques_has_any:dynamic=dynamic([]),threatcategory_has_any:dynamic=dynamic([]),alertverdict_has_any:dynamic=dynamic([]),eventseverity_has_any:dynamic=dynamic([]),disabled:bool=false'
    query: loadTextContent('../kql/functions/vimAlertEventKeyDrift.kql')
  }
  {
    name: 'vimAuditEventKeyDrift'
    parameters: 'starttime:datetime=datetime(null),endtime:datetime=datetime(null),srcipaddr_has_any_prefix:dynamic=dynamic([]),eventtype_in:dynamic=dynamic([]),eventresult:string=\'*\',actorusername_has_any:dynamic=dynamic([]),operation_has_any:dynamic=dynamic([]),object_has_any:dynamic=dynamic([]),newvalue_has_any:dynamic=dynamic([]),disabled:bool=false'
    query: loadTextContent('../kql/functions/vimAuditEventKeyDrift.kql')
  }
]

var hunting = [
  {
    name: 'actors-by-loss'
    title: 'keydrift: Who took the use of keys away most'
    tactics: 'Impact'
    query: loadTextContent('../kql/hunting/actors-by-loss.kql')
  }
  {
    name: 'flapping'
    title: 'keydrift: Keys that were taken away and given back again and again'
    tactics: 'Impact,DefenseEvasion'
    query: loadTextContent('../kql/hunting/flapping.kql')
  }
  {
    name: 'losses-without-actor-in-activity'
    title: 'keydrift: Losses without an actor, in the activity log'
    tactics: 'Impact'
    query: loadTextContent('../kql/hunting/losses-without-actor-in-activity.kql')
  }
  {
    name: 'losses-without-actor-in-vault-audit'
    title: 'keydrift: Losses without an actor, in the audit log of the key store'
    tactics: 'Impact'
    query: loadTextContent('../kql/hunting/losses-without-actor-in-vault-audit.kql')
  }
  {
    name: 'one-cause-many-vaults'
    title: 'keydrift: One cause that cost the keys of several key stores'
    tactics: 'Impact'
    query: loadTextContent('../kql/hunting/one-cause-many-vaults.kql')
  }
]

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource savedFunctions 'Microsoft.OperationalInsights/workspaces/savedSearches@2025-07-01' = [
  for each in functions: {
    parent: workspace
    name: toLower(each.name)
    // Overwrites what an earlier deployment saved; without it a second deployment is a conflict
    etag: '*'
    properties: {
      category: 'keydrift'
      displayName: each.name
      functionAlias: each.name
      functionParameters: each.parameters
      query: each.query
      version: 2
    }
  }
]

resource huntingQueries 'Microsoft.OperationalInsights/workspaces/savedSearches@2025-07-01' = [
  for each in hunting: {
    parent: workspace
    name: 'keydrift-${each.name}'
    etag: '*'
    properties: {
      // Sentinel shows saved searches of this category on its page Hunting
      category: 'Hunting Queries'
      displayName: each.title
      query: each.query
      version: 2
      tags: [
        {
          name: 'tactics'
          value: each.tactics
        }
        {
          name: 'techniques'
          value: 'T1485,T1490'
        }
      ]
    }
  }
]
