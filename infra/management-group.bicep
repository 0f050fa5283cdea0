metadata description = 'The monitor\'s role on a management group: for who watches many subscriptions. Deployed by itself (docs/operating.md).'

targetScope = 'managementGroup'

@description('Object id of the identity that the monitor runs as.')
param principalId string

// No data actions in it: Azure refuses those at this scope
var role = loadJsonContent('monitor-role.json')

resource definition 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(managementGroup().id, role.roleName)
  properties: {
    roleName: '${role.roleName} (${managementGroup().name})'
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
      managementGroup().id
    ]
  }
}

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(managementGroup().id, principalId, role.roleName)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: definition.id
  }
}
