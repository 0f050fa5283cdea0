#!/usr/bin/env sh
# After `azd deploy`: where events go straight to the function, subscribe it. Before, it does not exist, and Event Grid asks for it.
# azd hands its environment over: the outputs of infra/main.bicep.
set -eu

if [ "${KEYDRIFT_EVENT_DELIVERY:-queue}" != "function" ]; then
    exit 0
fi

for name in AZURE_LOCATION AZURE_SUBSCRIPTION_ID KEYDRIFT_SUBSCRIPTION_TOPICS KEYDRIFT_FUNCTION_ID KEYDRIFT_STORAGE_ID \
    KEYDRIFT_EVENTS_QUEUE KEYDRIFT_DEAD_LETTER_CONTAINER; do
    eval "value=\${$name:-}"
    if [ -z "$value" ]; then
        echo "$name is not set: run azd provision first" >&2
        exit 2
    fi
done

exec az deployment sub create \
    --name keydrift-function-events \
    --subscription "$AZURE_SUBSCRIPTION_ID" \
    --location "$AZURE_LOCATION" \
    --template-file infra/function-events.bicep \
    --parameters \
    "subscriptionTopics=$KEYDRIFT_SUBSCRIPTION_TOPICS" \
    "keyVaultTopics=${KEYDRIFT_KEY_VAULT_TOPICS:-}" \
    "functionId=$KEYDRIFT_FUNCTION_ID" \
    "storageAccountId=$KEYDRIFT_STORAGE_ID" \
    "eventsQueue=$KEYDRIFT_EVENTS_QUEUE" \
    "deadLetterContainer=$KEYDRIFT_DEAD_LETTER_CONTAINER" \
    --output none
