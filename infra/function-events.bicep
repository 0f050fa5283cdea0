metadata description = 'Events straight to the function `receive`. Deployed by infra/hooks/postdeploy.sh: the function has to exist first.'

targetScope = 'subscription'

@description('Resource ids of the subscriptions\' system topics, separated by commas.')
param subscriptionTopics string

@description('Resource ids of the key vaults\' system topics, separated by commas.')
param keyVaultTopics string = ''

param functionId string
param storageAccountId string
param eventsQueue string
param deadLetterContainer string

var events = loadJsonContent('events.json')
var subscriptionIds = empty(subscriptionTopics) ? [] : split(subscriptionTopics, ',')
var keyVaultIds = empty(keyVaultTopics) ? [] : split(keyVaultTopics, ',')

module subscriptions 'modules/event-subscriptions.bicep' = [
  for id in subscriptionIds: {
    name: 'keydrift-function-events-${uniqueString(id)}'
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      topicName: last(split(id, '/'))
      wanted: events.subscription
      eventDelivery: 'function'
      storageAccountId: storageAccountId
      eventsQueue: eventsQueue
      deadLetterContainer: deadLetterContainer
      functionId: functionId
    }
  }
]

module keyVaults 'modules/event-subscriptions.bicep' = [
  for id in keyVaultIds: {
    name: 'keydrift-function-events-${uniqueString(id)}'
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      topicName: last(split(id, '/'))
      wanted: events.keyVault
      eventDelivery: 'function'
      storageAccountId: storageAccountId
      eventsQueue: eventsQueue
      deadLetterContainer: deadLetterContainer
      functionId: functionId
    }
  }
]
