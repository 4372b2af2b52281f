/* Stands for the transport plugins that the real library opens by bare name. */
int fake_plugin_version(void);

int
fake_plugin_version(void)
{
    return 8;
}
