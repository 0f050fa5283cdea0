metadata description = 'The near-real-time analytics rules of Microsoft Sentinel: they run every minute on what arrived in the last.'

targetScope = 'resourceGroup'

@description('The Log Analytics workspace that Microsoft Sentinel is switched on for, in this resource group.')
param workspaceName string

@description('Whether the rules run. Off, they are there to be looked at.')
param enabled bool = true

// As an ARM template, because only preview versions of the API have the kind NRT, and the resource types that this folder is checked
// against hold none of them; azurerm's provider and Microsoft's samples use them for it too
resource rules 'Microsoft.Resources/deployments@2025-04-01' = {
  name: 'keydrift-near-real-time'
  properties: {
    mode: 'Incremental'
    expressionEvaluationOptions: {
      scope: 'Inner'
    }
    template: loadJsonContent('../sentinel-nrt.json')
    parameters: {
      workspaceName: {
        value: workspaceName
      }
      enabled: {
        value: enabled
      }
      rules: {
        value: [
          union(loadYamlContent('../sentinel/lost.yaml'), {
            query: loadTextContent('../kql/rules/lost.kql')
          })
          union(loadYamlContent('../sentinel/at-risk.yaml'), {
            query: loadTextContent('../kql/rules/at-risk.kql')
          })
          union(loadYamlContent('../sentinel/key-changed.yaml'), {
            query: loadTextContent('../kql/rules/key-changed.kql')
          })
        ]
      }
    }
  }
}
