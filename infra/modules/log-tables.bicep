metadata description = 'The product\'s tables, in a workspace that exists and may stand in another resource group or subscription.'

param workspaceName string

@description('How long rows stay in the tables for interactive queries, in days.')
param retentionInDays int

// Made from src/keydrift/tables.py by `make tables`; a test holds the two equal
var logs = loadJsonContent('../tables.json')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

@batchSize(1)
resource made 'Microsoft.OperationalInsights/workspaces/tables@2025-07-01' = [
  for table in logs.tables: {
    parent: workspace
    name: table.name
    properties: {
      plan: 'Analytics'
      retentionInDays: retentionInDays
      totalRetentionInDays: retentionInDays
      schema: {
        name: table.name
        description: table.description
        columns: table.columns
      }
    }
  }
]

@description('Where data collection rules and alert rules for this workspace have to be.')
output location string = workspace.location
