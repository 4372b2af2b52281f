/* Reports: what was moved, how, and how that went.  For the command line as well. */
#ifndef V2C_API_REPORT_H
#define V2C_API_REPORT_H

struct err;
struct json_t;
struct store;

/* What is recorded of a migration, as JobReport in openapi.yaml without the job; E_STORE_NOT_FOUND.  The caller
 * owns *ret. */
int api_report(struct store *store, const char *control_dir, const char *vcenter, const char *moref,
               struct json_t **ret, struct err **err);
/* One page that needs nothing else: @report is one, or an array of them, each on sheets of its own.  E_LIMIT.
 * The caller frees *ret_page. */
int api_report_page(const struct json_t *report, char **ret_page, struct err **err);
/* "sha256-...": the source of the page's one style, for a Content-Security-Policy. */
const char *api_report_style(void);

#endif
