metadata description = 'The event subscriptions of one system topic, to the storage queue or to the function.'

param topicName string

@description('What to subscribe to: {name, types, operations} each, from events.json. `operations` are prefixes; none lets all pass.')
param wanted array

@description('Where events go: `queue`, put there by the topic\'s identity, or `function`.')
@allowed([
  'queue'
  'function'
])
param eventDelivery string

param storageAccountId string
param eventsQueue string
param deadLetterContainer string

@description('Resource id of the function `receive`, which has to exist. Empty where events go to the queue.')
param functionId string

var toQueue = eventDelivery == 'queue'
var byIdentity = {
  identity: {
    type: 'SystemAssigned'
  }
  destination: {
    endpointType: 'StorageQueue'
    properties: {
      resourceId: storageAccountId
      queueName: eventsQueue
      // Never: the default drops a message after 7 days without a trace
      queueMessageTimeToLiveInSeconds: -1
    }
  }
}
var toFunction = {
  endpointType: 'AzureFunction'
  properties: {
    resourceId: functionId
    // One event a call: a batch is sent again as a whole when one of it fails
    maxEventsPerBatch: 1
    preferredBatchSizeInKilobytes: 64
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

// One after the other: they change the same topic
@batchSize(1)
resource subscriptions 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = [
  for each in wanted: {
    parent: topic
    name: each.name
    properties: {
      eventDeliverySchema: 'CloudEventSchemaV1_0'
      deliveryWithResourceIdentity: toQueue ? byIdentity : null
      destination: toQueue ? null : toFunction
      filter: {
        includedEventTypes: each.types
        enableAdvancedFilteringOnArrays: false
        isSubjectCaseSensitive: false
        // Of 25 values that a subscription may hold. Event types do not count
        advancedFilters: empty(each.operations) ? [] : [{ operatorType: 'StringBeginsWith', key: 'data.operationName', values: each.operations }]
      }
      // The most that Event Grid offers: about a dozen attempts within 24 hours, then the dead-letter container
      retryPolicy: {
        maxDeliveryAttempts: 30
        eventTimeToLiveInMinutes: 1440
      }
      deadLetterWithResourceIdentity: {
        identity: {
          type: 'SystemAssigned'
        }
        deadLetterDestination: {
          endpointType: 'StorageBlob'
          properties: {
            resourceId: storageAccountId
            blobContainerName: deadLetterContainer
          }
        }
      }
    }
  }
]
