metadata description = 'One watched subscription: the monitor\'s role on it, and its events on their way to the monitor.'

targetScope = 'subscription'

param location string
param tags object

@description('Resource id of this subscription\'s system topic.')
param topicId string

@description('Whether to make the topic and its resource group. Azure allows one topic for each source.')
param makeTopic bool

@description('Object id of the identity that gets the role here. Empty: the role is granted elsewhere.')
param principalId string

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

module role 'monitor-role.bicep' = if (!empty(principalId)) {
  name: 'keydrift-monitor-role'
  params: {
    principalId: principalId
  }
}

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = if (makeTopic) {
  name: topicGroup
  location: location
  tags: tags
}

module topic 'system-topic.bicep' = if (makeTopic) {
  name: 'keydrift-system-topic'
  scope: resourceGroup(topicGroup)
  params: {
    name: topicName
    location: 'global'
    tags: tags
    source: subscription().id
    topicType: 'Microsoft.Resources.Subscriptions'
  }
  dependsOn: [
    group
  ]
}

module identity 'topic-identity.bicep' = {
  name: 'keydrift-topic-identity'
  scope: resourceGroup(topicGroup)
  params: {
    name: topicName
  }
  dependsOn: [
    topic
  ]
}

module delivery 'delivery-roles.bicep' = {
  name: 'keydrift-delivery-${uniqueString(subscription().id)}'
  scope: resourceGroup(split(storageAccountId, '/')[2], split(storageAccountId, '/')[4])
  params: {
    storageAccountName: last(split(storageAccountId, '/'))
    eventsQueue: eventsQueue
    deadLetterContainer: deadLetterContainer
    principalId: identity.outputs.principalId
  }
}

// To a function only after it is deployed: infra/function-events.bicep
module subscriptions 'event-subscriptions.bicep' = if (eventDelivery == 'queue') {
  name: 'keydrift-event-subscriptions'
  scope: resourceGroup(topicGroup)
  params: {
    topicName: topicName
    wanted: events.subscription
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
