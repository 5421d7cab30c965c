#include "server/registry.h"

#include <string.h>

#include "protocols/redis/redis.h"
#include "server/config.h"

const struct pl_protocol *const pl_registry_protocols[] = {
    &pl_mqtt_protocol,
    &pl_redis_protocol,
    &pl_wamp_protocol,
    &pl_mles_protocol,
    &pl_nats_protocol,
    NULL,
};

const struct pl_protocol *pl_registry_find(const char *name)
{
    for (const struct pl_protocol *const *p = pl_registry_protocols; *p; p++) {
        if (strcmp((*p)->name, name) == 0)
            return *p;
    }
    return NULL;
}

const char *pl_registry_names(void)
{
    return "mqtt, nats, redis, wamp, mles";
}

bool pl_registry_has_login(const struct pl_protocol *protocol, const struct pl_config *config)
{
    return pl_config_has_auth(config) || (protocol == &pl_mles_protocol && config->mles.has_key);
}

void pl_registry_fill(const struct pl_config *config, struct pl_protocol_options *out)
{
    const struct pl_config_mqtt *mqtt = &config->mqtt;
    uint64_t expiry_s = config->limits.session_expiry_ms / 1000;
    out->mqtt = (struct pl_mqtt_options){
        .receive_max = (uint16_t)mqtt->receive_maximum,
        .inflight_max = (uint16_t)mqtt->inflight,
        .queue_count_max = mqtt->queue,
        .queue_bytes_max = mqtt->queue_bytes,
        .topic_alias_max = (uint16_t)mqtt->topic_aliases,
        .topic_alias_out_max = (uint16_t)mqtt->topic_aliases_out,
        .session_expiry_max_s = expiry_s > UINT32_MAX ? UINT32_MAX : (uint32_t)expiry_s,
        .keep_alive_max_s =
            (uint16_t)(mqtt->keep_alive_max_ms > 65535000 ? 0
                                                          : (mqtt->keep_alive_max_ms + 999) / 1000),
        .client_id_max = (uint16_t)mqtt->client_id,
        .user_properties_max = mqtt->user_properties,
        .qos_max = (uint8_t)mqtt->qos,
        .retain_available = mqtt->retain,
        .wildcard_available = mqtt->wildcards,
        .subscription_id_available = mqtt->subscription_ids,
        .shared_available = mqtt->shared_subscriptions,
    };
    const struct pl_config_wamp *wamp = &config->wamp;
    out->wamp = (struct pl_wamp_options){
        .strict_uri = wamp->strict_uri,
        .strict_features = wamp->strict_features,
        .strict_ids = wamp->strict_ids,
        .allow_disclose = wamp->disclose,
        .plain = wamp->payload,
        .details_max = (uint32_t)wamp->details,
        .audience_max = wamp->audience,
        .headers_max = wamp->headers,
        .testaments_max = wamp->testaments,
        .testament_bytes_max = (uint32_t)wamp->testament_bytes,
        .events_max = wamp->events,
        .event_reads_max = wamp->event_reads,
    };
    const struct pl_config_mles *mles = &config->mles;
    struct pl_bytes key;
    bool has_key = pl_config_mles_key(config, &key);
    out->mles = (struct pl_mles_options){
        .has_key = has_key,
        .key = key,
        .role = mles->role[0] ? mles->role : NULL,
        .prefix = pl_bytes_text(mles->prefix),
        .header_timeout_ms = mles->header_timeout_ms,
        .ping_interval_ms = mles->ping_interval_ms,
        .ping_max = mles->pings,
        .contest_ms = mles->contest_ms,
    };
    out->nats = (struct pl_nats_options){.payload_max = (uint32_t)config->limits.payload};
}

const void *pl_registry_options(
    const struct pl_protocol *protocol, const struct pl_protocol_options *options)
{
    if (protocol == &pl_mqtt_protocol)
        return &options->mqtt;
    if (protocol == &pl_wamp_protocol)
        return &options->wamp;
    if (protocol == &pl_mles_protocol)
        return &options->mles;
    return protocol == &pl_nats_protocol ? &options->nats : NULL;
}
