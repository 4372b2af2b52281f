/* Connections to what the configuration names, for commands that work on both sides themselves. */
#ifndef V2C_CLI_CONNECT_H
#define V2C_CLI_CONNECT_H

struct cloudstack;
struct config;
struct err;
struct vsphere;

/* E_CONFIG where the configuration does not say enough. */
int connect_vcenter(const struct config *config, struct vsphere **ret_vsphere, struct err **err);
int connect_cloudstack(const struct config *config, struct cloudstack **ret_cs, struct err **err);

#endif
