metadata description = 'The identity of a system topic that exists, whoever made it.'

param name string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: name
}

@description('Fails where the topic has no system-assigned identity: docs/operating.md says how to give it one.')
output principalId string = topic.identity.principalId
