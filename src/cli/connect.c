#include "cli/connect.h"

#include "base/err.h"
#include "cloudstack/cloudstack.h"
#include "config/config.h"
#include "vsphere/vsphere.h"

int
connect_vcenter(const struct config *config, struct vsphere **ret_vsphere, struct err **err)
{
    const struct vsphere_options options = {
        .host = config->vcenter.host,
        .user = config->vcenter.user,
        .password = config->vcenter.password,
        .trust = {.ca_file = config->vcenter.ca_file,
                  .thumbprint = config->vcenter.thumbprint,
                  .is_insecure = config->vcenter.is_insecure,
                  .config_key = "vcenter"},
    };

    if (!options.host || !*options.host || !options.password)
        return err_set(err, E_CONFIG, "no configuration with the vCenter's name and password");
    if (vsphere_connect(&options, ret_vsphere, err) < 0)
        return err_wrap(err, "vCenter %s", options.host);
    return 0;
}

int
connect_cloudstack(const struct config *config, struct cloudstack **ret_cs, struct err **err)
{
    const struct cloudstack_options options = {
        .endpoint = config->cloudstack.endpoint,
        .api_key = config->cloudstack.api_key,
        .secret_key = config->cloudstack.secret_key,
        .trust = {.ca_file = config->cloudstack.ca_file,
                  .thumbprint = config->cloudstack.thumbprint,
                  .is_insecure = config->cloudstack.is_insecure,
                  .config_key = "cloudstack"},
        .timeout_ms = (int)config->cloudstack.timeout_seconds * 1000,
    };

    if (!options.endpoint || !options.api_key || !options.secret_key)
        return err_set(err, E_CONFIG, "no configuration with CloudStack's endpoint and keys");
    return cloudstack_connect(&options, ret_cs, err);
}
