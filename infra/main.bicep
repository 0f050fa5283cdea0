metadata description = 'keydrift in a tenant: everything around the function app, without a secret.'

targetScope = 'subscription'

// Lists are texts with commas between: azd hands environment variables over as they are, whatever their type

@description('Name of the azd environment: part of every name here.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('Region of the function app. Flex Consumption with Python 3.13 has to be offered there.')
@minLength(1)
param location string

@description('Ids of the subscriptions to watch; one that has a system topic already as `<id>=<the topic\'s resource id>`. Empty: this one.')
param watchedSubscriptions string = ''

@description('Resource ids of key vaults whose own events (expiries) are wanted too; one that has a system topic as `<id>=<topic id>`.')
param watchedKeyVaults string = ''

@description('Events by way of a storage queue (no key, needs no function yet), or straight to the function.')
@allowed([
  'queue'
  'function'
])
param eventDelivery string = 'queue'

@description('Where the identity gets its reads: on each watched subscription, or by infra/management-group.bicep.')
@allowed([
  'subscriptions'
  'managementGroup'
])
param monitorRole string = 'subscriptions'

@description('Resource id of the Log Analytics workspace. Empty: make one.')
param workspaceId string = ''

@allowed([
  'azureMonitor'
  'sentinel'
  'none'
])
@description('Whose rules raise alerts on what keydrift tells: log alerts of Azure Monitor, analytics rules of Microsoft Sentinel (which has to be switched on for the workspace), or nobody.')
param analytics string = 'azureMonitor'

@description('How long rows stay in the tables for interactive queries, in days.')
@minValue(30)
@maxValue(730)
param retentionInDays int = 90

@description('`private`: a virtual network with private endpoints for the storage account, whose firewall then refuses others.')
@allowed([
  'public'
  'private'
])
param network string = 'public'

@description('Address range of the virtual network, and within it those of its two subnets.')
param addressPrefix string = '10.20.0.0/24'
param functionPrefix string = '10.20.0.0/26'
param endpointPrefix string = '10.20.0.64/26'

@description('Resource ids of the action groups that the alert rules tell.')
param actionGroups string = ''

@description('How long the monitor may be silent before that is an incident. Longer than three sweeps take to fall due.')
@allowed([
  'PT1H'
  'PT2H'
  'PT6H'
  'P1D'
])
param heartbeatWindow string = 'PT1H'

@description('Zone-redundant where the region has zones; Standard_LRS elsewhere.')
@allowed([
  'Standard_ZRS'
  'Standard_LRS'
])
param storageSku string = 'Standard_ZRS'

@description('KEYDRIFT_INVENTORY: how sweeps find consumers (docs/settings.md).')
@allowed([
  'auto'
  'arm'
  'resource-graph'
])
param inventory string = 'auto'

@description('KEYDRIFT_SWEEP_SCHEDULE: six-field NCRONTAB in UTC. Empty: every 15 minutes.')
param sweepSchedule string = ''

@description('KEYDRIFT_BACKUP_OBJECT_ID: the Backup Management Service in this directory, where Microsoft Graph may not be read.')
param backupObjectId string = ''

param maximumInstances int = 40

@description('More app settings by name (docs/settings.md). They win over those made here.')
param moreSettings object = {}

var token = uniqueString(subscription().id, environmentName, location)
var tags = { 'azd-env-name': environmentName }
var groupName = 'rg-${environmentName}'
var recheckQueue = 'keydrift-recheck'
var eventsQueue = 'keydrift-events'
var deadLetterContainer = 'keydrift-dead-letters'
var deploymentContainer = 'deployment'
var tableName = 'keydrift'
var storageName = 'stkeydrift${token}'
var appName = 'func-keydrift-${token}'
var networkName = 'vnet-keydrift-${token}'
var functionSubnet = 'functions'
var endpointSubnet = 'endpoints'
var subnets = '/subscriptions/${subscription().subscriptionId}/resourceGroups/${groupName}/providers/Microsoft.Network/virtualNetworks/${networkName}/subnets'
var private = network == 'private'
var services = [
  for service in ['blob', 'queue', 'table']: {
    service: service
    zone: 'privatelink.${service}.${environment().suffixes.storage}'
  }
]

var newWorkspace = 'log-keydrift-${token}'
var workspaceName = empty(workspaceId) ? newWorkspace : last(split(workspaceId, '/'))
var workspaceGroup = empty(workspaceId) ? groupName : split(workspaceId, '/')[4]
var workspaceSubscription = empty(workspaceId) ? subscription().subscriptionId : split(workspaceId, '/')[2]
var workspace = '/subscriptions/${workspaceSubscription}/resourceGroups/${workspaceGroup}/providers/Microsoft.OperationalInsights/workspaces/${workspaceName}'

// An entry is an id, or an id and behind an equals sign the system topic that exists: Azure allows one for each source
var watchedEntries = split(empty(watchedSubscriptions) ? subscription().subscriptionId : watchedSubscriptions, ',')
var watchedParts = [for entry in watchedEntries: split('${trim(entry)}=', '=')]
var watchedIds = [for parts in watchedParts: toLower(parts[0])]
var topicIds = [
  for parts in watchedParts: empty(parts[1]) ? '/subscriptions/${toLower(parts[0])}/resourceGroups/${groupName}-events/providers/Microsoft.EventGrid/systemTopics/keydrift-${toLower(parts[0])}' : parts[1]
]

var vaultEntries = empty(watchedKeyVaults) ? [] : split(watchedKeyVaults, ',')
var vaultParts = [for entry in vaultEntries: split('${trim(entry)}=', '=')]
var vaultTopicIds = [
  for parts in vaultParts: empty(parts[1]) ? '${split(parts[0], '/providers/')[0]}/providers/Microsoft.EventGrid/systemTopics/keydrift-${last(split(parts[0], '/'))}' : parts[1]
]

var actionGroupIds = [for id in (empty(actionGroups) ? [] : split(actionGroups, ',')): trim(id)]
var zones = [for each in services: each.zone]

resource home 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'keydrift-identity'
  scope: home
  params: {
    location: location
    name: 'id-keydrift-${token}'
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  name: 'keydrift-storage'
  scope: home
  params: {
    location: location
    name: storageName
    tags: tags
    principalId: identity.outputs.principalId
    private: private
    skuName: storageSku
    tableName: tableName
    recheckQueue: recheckQueue
    eventsQueue: eventsQueue
    deadLetterContainer: deadLetterContainer
    deploymentContainer: deploymentContainer
  }
}

module virtualNetwork 'modules/network.bicep' = if (private) {
  name: 'keydrift-network'
  scope: home
  params: {
    location: location
    name: networkName
    tags: tags
    addressPrefix: addressPrefix
    functionSubnet: functionSubnet
    functionPrefix: functionPrefix
    endpointSubnet: endpointSubnet
    endpointPrefix: endpointPrefix
    zones: zones
  }
}

module endpoints 'modules/private-endpoints.bicep' = if (private) {
  name: 'keydrift-private-endpoints'
  scope: home
  params: {
    location: location
    tags: tags
    storageAccountId: storage.outputs.id
    subnetId: '${subnets}/${endpointSubnet}'
    services: services
  }
  dependsOn: [
    virtualNetwork
  ]
}

module logs 'modules/workspace.bicep' = if (empty(workspaceId)) {
  name: 'keydrift-workspace'
  scope: home
  params: {
    location: location
    name: newWorkspace
    tags: tags
    retentionInDays: retentionInDays
  }
}

module tables 'modules/log-tables.bicep' = {
  name: 'keydrift-tables-${token}'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    workspaceName: workspaceName
    retentionInDays: retentionInDays
  }
  dependsOn: [
    home
    logs
  ]
}

module ingestion 'modules/ingestion.bicep' = {
  name: 'keydrift-ingestion'
  scope: home
  params: {
    location: tables.outputs.location
    name: 'dcr-keydrift-${token}'
    tags: tags
    workspaceId: workspace
    principalId: identity.outputs.principalId
  }
}

module insights 'modules/application-insights.bicep' = {
  name: 'keydrift-application-insights'
  scope: home
  params: {
    location: location
    name: 'appi-keydrift-${token}'
    tags: tags
    workspaceId: workspace
    principalId: identity.outputs.principalId
  }
  dependsOn: [
    logs
  ]
}

module alerts 'modules/health-alerts.bicep' = {
  name: 'keydrift-health-alerts'
  scope: home
  params: {
    location: tables.outputs.location
    tags: tags
    workspaceId: workspace
    actionGroups: actionGroupIds
    heartbeatWindow: heartbeatWindow
  }
}

module queries 'modules/queries.bicep' = {
  name: 'keydrift-queries-${token}'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    workspaceName: workspaceName
  }
  dependsOn: [
    tables
  ]
}

module workbook 'modules/workbook.bicep' = {
  name: 'keydrift-workbook-${token}'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    workspaceName: workspaceName
    location: tables.outputs.location
    tags: tags
  }
  dependsOn: [
    queries
  ]
}

module rules 'modules/rules.bicep' = if (analytics == 'azureMonitor') {
  name: 'keydrift-rules-${token}'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    workspaceName: workspaceName
    location: tables.outputs.location
    tags: tags
    actionGroupIds: actionGroupIds
    watchMonitor: false
  }
  dependsOn: [
    queries
  ]
}

module sentinel 'modules/sentinel.bicep' = if (analytics == 'sentinel') {
  name: 'keydrift-sentinel-${token}'
  scope: resourceGroup(workspaceSubscription, workspaceGroup)
  params: {
    workspaceName: workspaceName
  }
  dependsOn: [
    queries
  ]
}

var settings = {
  KEYDRIFT_CLOUD: environment().name
  KEYDRIFT_TENANT_ID: tenant().tenantId
  KEYDRIFT_SUBSCRIPTIONS: join(watchedIds, ',')
  KEYDRIFT_STATE: 'https://${storageName}.table.${environment().suffixes.storage}'
  KEYDRIFT_TABLE: tableName
  KEYDRIFT_RECHECK_QUEUE: recheckQueue
  KEYDRIFT_EVENTS_QUEUE: eventsQueue
  KEYDRIFT_DEAD_LETTER_CONTAINER: deadLetterContainer
  KEYDRIFT_INVENTORY: inventory
  KEYDRIFT_SWEEP_SCHEDULE: empty(sweepSchedule) ? '0 */15 * * * *' : sweepSchedule
  KEYDRIFT_DELIVER_SCHEDULE: '30 */2 * * * *'
  KEYDRIFT_PULSE_SCHEDULE: '15 */5 * * * *'
  KEYDRIFT_DCR_ENDPOINT: ingestion.outputs.endpoint
  KEYDRIFT_DCR_RULE_ID: ingestion.outputs.ruleId
}
var declaredSettings = empty(backupObjectId) ? {} : { KEYDRIFT_BACKUP_OBJECT_ID: backupObjectId }

module functionApp 'modules/function-app.bicep' = {
  name: 'keydrift-function-app'
  scope: home
  params: {
    location: location
    planName: 'plan-keydrift-${token}'
    name: appName
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageAccountName: storageName
    deploymentContainer: deploymentContainer
    insightsConnectionString: insights.outputs.connectionString
    subnetId: private ? '${subnets}/${functionSubnet}' : ''
    maximumInstances: maximumInstances
    settings: union(settings, declaredSettings, moreSettings)
  }
  dependsOn: [
    storage
    endpoints
  ]
}

module watchedSubscription 'modules/watched-subscription.bicep' = [
  for (parts, index) in watchedParts: {
    name: 'keydrift-watch-${watchedIds[index]}'
    scope: subscription(watchedIds[index])
    params: {
      location: location
      tags: tags
      topicId: topicIds[index]
      makeTopic: empty(parts[1])
      principalId: monitorRole == 'subscriptions' ? identity.outputs.principalId : ''
      eventDelivery: eventDelivery
      storageAccountId: storage.outputs.id
      eventsQueue: eventsQueue
      deadLetterContainer: deadLetterContainer
    }
  }
]

module watchedKeyVault 'modules/watched-key-vault.bicep' = [
  for (parts, index) in vaultParts: {
    name: 'keydrift-watch-${last(split(parts[0], '/'))}'
    scope: resourceGroup(split(parts[0], '/')[2], split(parts[0], '/')[4])
    params: {
      vaultName: last(split(parts[0], '/'))
      tags: tags
      topicId: vaultTopicIds[index]
      makeTopic: empty(parts[1])
      eventDelivery: eventDelivery
      storageAccountId: storage.outputs.id
      eventsQueue: eventsQueue
      deadLetterContainer: deadLetterContainer
    }
  }
]

// What azd keeps in its environment, for `azd deploy`, the hook and docs/operating.md
output AZURE_RESOURCE_GROUP string = groupName
output KEYDRIFT_IDENTITY_CLIENT_ID string = identity.outputs.clientId
output KEYDRIFT_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId
output KEYDRIFT_FUNCTION_APP string = appName
output KEYDRIFT_FUNCTION_ID string = '${functionApp.outputs.id}/functions/receive'
output KEYDRIFT_EVENT_DELIVERY string = eventDelivery
output KEYDRIFT_SUBSCRIPTION_TOPICS string = join(topicIds, ',')
output KEYDRIFT_KEY_VAULT_TOPICS string = join(vaultTopicIds, ',')
output KEYDRIFT_STORAGE_ID string = storage.outputs.id
output KEYDRIFT_EVENTS_QUEUE string = eventsQueue
output KEYDRIFT_DEAD_LETTER_CONTAINER string = deadLetterContainer
output KEYDRIFT_WORKSPACE string = workspace
