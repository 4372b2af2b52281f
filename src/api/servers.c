/* Connections to the servers that a configuration names. */
#include "api/internal.h"
#include "cloudstack/cloudstack.h"
#include "config/config.h"
#include "vsphere/vsphere.h"

int
server_connect_vcenter(const struct config *c, int timeout_ms, struct vsphere **ret,
                       struct err **err)
{
    const struct vsphere_options options = {
        .host = c->vcenter.host,
        .user = c->vcenter.user,
        .password = c->vcenter.password,
        .trust = {.ca_file = c->vcenter.ca_file,
                  .thumbprint = c->vcenter.thumbprint,
                  .is_insecure = c->vcenter.is_insecure,
                  .config_key = "vcenter"},
        .timeout_ms = timeout_ms,
    };

    if (!c->vcenter.host || !*c->vcenter.host || !c->vcenter.password)
        return err_set(err, E_CONFIG, "no vCenter with its password is configured");
    if (vsphere_connect(&options, ret, err) < 0)
        return err_wrap(err, "vCenter %s", c->vcenter.host);
    return 0;
}

int
server_connect_cloudstack(const struct config *c, int timeout_ms, struct cloudstack **ret,
                          struct err **err)
{
    const struct cloudstack_options options = {
        .endpoint = c->cloudstack.endpoint,
        .api_key = c->cloudstack.api_key,
        .secret_key = c->cloudstack.secret_key,
        .trust = {.ca_file = c->cloudstack.ca_file,
                  .thumbprint = c->cloudstack.thumbprint,
                  .is_insecure = c->cloudstack.is_insecure,
                  .config_key = "cloudstack"},
        .timeout_ms = timeout_ms,
    };

    if (!c->cloudstack.endpoint || !*c->cloudstack.endpoint)
        return err_set(err, E_CONFIG, "no CloudStack is configured");
    if (cloudstack_connect(&options, ret, err) < 0)
        return err_wrap(err, "CloudStack %s", c->cloudstack.endpoint);
    return 0;
}
