"""keydrift: notices when Azure Backup can no longer use the keys that its backups depend on."""

__version__ = "0.1.0"
