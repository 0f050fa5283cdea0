metadata description = 'The workbook of keydrift: posture, history, outages, one key binding with its proof, the monitor itself.'

targetScope = 'resourceGroup'

@description('The Log Analytics workspace, which exists already in this resource group and holds the tables and functions of keydrift.')
param workspaceName string

@description('Region of the workbook.')
param location string = resourceGroup().location

@description('Name that the workbook is shown under.')
param displayName string = 'keydrift'

@description('Tags of the workbook.')
param tags object = {}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  // A workbook's name has to be a GUID; the same one each time, so that a second deployment replaces it
  name: guid(workspace.id, 'keydrift-workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: workspace.id
    serializedData: loadTextContent('../workbook/keydrift.workbook.json')
    version: 'Notebook/1.0'
  }
}

@description('Resource id of the workbook.')
output workbookId string = workbook.id
