metadata description = 'The storage account inside the virtual network: one private endpoint for each of its services.'

param location string
param tags object
param storageAccountId string
param subnetId string

@description('Services of the storage account and the private DNS zone of each: {service, zone}, zones in this resource group.')
param services array

var account = last(split(storageAccountId, '/'))

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for each in services: {
    name: 'pe-${account}-${each.service}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: subnetId
      }
      privateLinkServiceConnections: [
        {
          name: each.service
          properties: {
            privateLinkServiceId: storageAccountId
            groupIds: [
              each.service
            ]
          }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (each, index) in services: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: each.service
          properties: {
            privateDnsZoneId: resourceId('Microsoft.Network/privateDnsZones', each.zone)
          }
        }
      ]
    }
  }
]
