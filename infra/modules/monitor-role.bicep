metadata description = 'A custom role of the reads that the monitor makes and no other, and its assignment, on one subscription.'

targetScope = 'subscription'

@description('The identity that the monitor runs as.')
param principalId string

// A role's name is unique in a directory, so each subscription's role tells its own
var role = loadJsonContent('../monitor-role.json')

resource definition 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, role.roleName)
  properties: {
    roleName: '${role.roleName} (${subscription().subscriptionId})'
    description: role.description
    type: 'CustomRole'
    permissions: [
      {
        actions: role.actions
        notActions: role.notActions
        dataActions: role.dataActions
        notDataActions: role.notDataActions
      }
    ]
    assignableScopes: [
      subscription().id
    ]
  }
}

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, principalId, role.roleName)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: definition.id
  }
}
