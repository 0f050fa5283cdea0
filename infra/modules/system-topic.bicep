metadata description = 'An Event Grid system topic with an identity of its own. Azure allows one for each source.'

param name string
param tags object

@description('Where the source is; `global` for a subscription.')
param location string

@description('The resource id whose events the topic takes.')
param source string

param topicType string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: source
    topicType: topicType
  }
}
