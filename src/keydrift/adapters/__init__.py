"""The adapters: one remote each. They import ports and, inside functions, the Azure SDK; nothing inward imports them."""
