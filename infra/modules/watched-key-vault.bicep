metadata description = 'One key vault\'s own events: expiries and policy changes. Its topic stands in the vault\'s resource group.'

param vaultName string
param tags object

@description('Resource id of this key vault\'s system topic, in the vault\'s resource group where it is made.')
param topicId string

@description('Whether to make the topic. Azure allows one for each source.')
param makeTopic bool

@allowed([
  'queue'
  'function'
])
param eventDelivery string

param storageAccountId string
param eventsQueue string
param deadLetterContainer string

var topicName = last(split(topicId, '/'))
var topicGroup = split(topicId, '/')[4]
var events = loadJsonContent('../events.json')

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

module topic 'system-topic.bicep' = if (makeTopic) {
  name: 'keydrift-topic-${vaultName}'
  params: {
    name: topicName
    location: vault.location
    tags: tags
    source: vault.id
    topicType: 'Microsoft.KeyVault.vaults'
  }
}

module identity 'topic-identity.bicep' = {
  name: 'keydrift-identity-${vaultName}'
  scope: resourceGroup(topicGroup)
  params: {
    name: topicName
  }
  dependsOn: [
    topic
  ]
}

module delivery 'delivery-roles.bicep' = {
  name: 'keydrift-delivery-${uniqueString(vault.id)}'
  scope: resourceGroup(split(storageAccountId, '/')[2], split(storageAccountId, '/')[4])
  params: {
    storageAccountName: last(split(storageAccountId, '/'))
    eventsQueue: eventsQueue
    deadLetterContainer: deadLetterContainer
    principalId: identity.outputs.principalId
  }
}

module subscriptions 'event-subscriptions.bicep' = if (eventDelivery == 'queue') {
  name: 'keydrift-events-${vaultName}'
  scope: resourceGroup(topicGroup)
  params: {
    topicName: topicName
    wanted: events.keyVault
    eventDelivery: eventDelivery
    storageAccountId: storageAccountId
    eventsQueue: eventsQueue
    deadLetterContainer: deadLetterContainer
    functionId: ''
  }
  dependsOn: [
    delivery
  ]
}
