/* Sessions: a cookie each, ended by Logout, by idling, or by the lab.  What a session made (views,
 * filters, unfinished pages) ends with it. */
#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/util.h"
#include "core/vms.h"
#include "vsphere/inner.h"

#define MAX_SESSIONS 500

static void
end_at(struct lab_vsphere *vs, size_t index)
{
    struct vs_session *session = vs->sessions.items[index];

    vs_views_end(vs, session->cookie);
    vs_collector_end(vs, session->cookie);
    free(session);
    vs->sessions.items[index] = vs->sessions.items[--vs->sessions.count];
    lab_note_change(vs->lab);
}

struct vs_session *
vs_session_find(struct lab_vsphere *vs, const char *cookie)
{
    int64_t oldest = clock_monotonic_ms() - (int64_t)vs->lab->settings.idle_seconds * 1000;

    for (size_t i = vs->sessions.count; i-- > 0;)
        if (vs->sessions.items[i]->active_ms < oldest)
            end_at(vs, i);
    for (size_t i = 0; *cookie && i < vs->sessions.count; i++)
        if (!strcmp(vs->sessions.items[i]->cookie, cookie))
            return vs->sessions.items[i];
    return NULL;
}

void
vs_session_end(struct lab_vsphere *vs, const char *cookie)
{
    for (size_t i = vs->sessions.count; i-- > 0;)
        if (!strcmp(vs->sessions.items[i]->cookie, cookie))
            end_at(vs, i);
}

void
vs_sessions_end_all(struct lab_vsphere *vs)
{
    while (vs->sessions.count)
        end_at(vs, vs->sessions.count - 1);
}

struct value *
vs_session_value(const struct vs_session *session)
{
    struct value *value = value_object("UserSession");
    uint64_t idle_ms = (uint64_t)(clock_monotonic_ms() - session->active_ms);

    value_set(value, "key", value_string(session->key));
    value_set(value, "userName", value_string(session->user));
    value_set(value, "fullName", value_string(session->user));
    value_set(value, "loginTime", value_time_ms(session->login_ms));
    value_set(value, "lastActiveTime", value_time_ms((uint64_t)clock_wall_ms() - idle_ms));
    value_set(value, "locale", value_string("en"));
    value_set(value, "messageLocale", value_string("en"));
    value_set(value, "ipAddress", value_string("127.0.0.1"));
    value_set(value, "userAgent", value_string(session->agent));
    value_set(value, "callCount", value_long((int64_t)session->calls));
    return value;
}

/* @bytes of hex behind the "52" that the real ones begin with; @to has room for 2 * bytes + 3. */
static void
random_id(char *to, size_t bytes)
{
    uint8_t raw[20];

    if (RAND_bytes(raw, (int)bytes) != 1)
        abort();
    to = lab_put_hex(to, 0x52);
    for (size_t i = 0; i < bytes; i++)
        to = lab_put_hex(to, raw[i]);
    *to = '\0';
}

int
vs_login(struct vs_call *call)
{
    struct vs_session *session;
    const char *agent = lab_exchange_header(call->exchange, "User-Agent");
    char user[64], password[128], header[128];

    vs_param(call, "userName", user, sizeof(user));
    vs_param(call, "password", password, sizeof(password));
    if (call->session)
        return vs_fail(call, vs_fault_new("InvalidRequest", "The session is logged in already"));
    if (strcmp(user, call->lab->user) != 0 || strcmp(password, call->lab->password) != 0)
        return vs_fail(call, vs_fault_new("InvalidLogin", "Cannot complete login due to an "
                                                          "incorrect user name or password."));
    if (call->vs->sessions.count >= MAX_SESSIONS)
        return vs_fail(call, vs_fault_new("RuntimeFault", "Out of HTTP sessions: Limited to %d",
                                          MAX_SESSIONS));
    session = xcalloc(1, sizeof(*session));
    random_id(session->cookie, 18);
    random_id(session->key, 15);
    (void)snprintf(session->user, sizeof(session->user), "%s", user);
    (void)snprintf(session->agent, sizeof(session->agent), "%s", agent ? agent : "");
    session->login_ms = (uint64_t)clock_wall_ms();
    session->active_ms = clock_monotonic_ms();
    vec_push(&call->vs->sessions, session);
    (void)snprintf(header, sizeof(header), "vmware_soap_session=\"%s\"; Path=/; HttpOnly; Secure",
                   session->cookie);
    lab_exchange_answer_header(call->exchange, "Set-Cookie", header);
    vs_return(call, "UserSession", vs_session_value(session));
    return 0;
}

int
vs_logout(struct vs_call *call)
{
    vs_session_end(call->vs, call->cookie);
    call->session = NULL;
    return 0;
}

int
vs_session_is_active(struct vs_call *call)
{
    char id[64], user[128];
    bool is_active = false;

    vs_param(call, "sessionID", id, sizeof(id));
    vs_param(call, "userName", user, sizeof(user));
    for (size_t i = 0; i < call->vs->sessions.count; i++)
        is_active = is_active || (!strcmp(call->vs->sessions.items[i]->key, id) &&
                                  !strcmp(call->vs->sessions.items[i]->user, user));
    vs_return(call, "boolean", value_bool(is_active));
    return 0;
}

/* What the account holds: everything but what the scenario took away, on every entity alike.  Of a
 * session that is not there all is denied, as the real one does. */
int
vs_has_privileges(struct vs_call *call)
{
    char session_key[64], id[128], moref[64];
    bool is_there = false;

    vs_param(call, "sessionId", session_key, sizeof(session_key));
    for (size_t i = 0; i < call->vs->sessions.count; i++)
        is_there = is_there || !strcmp(call->vs->sessions.items[i]->key, session_key);
    for (xmlNode *entity = vs_child(call->method, "entity"); entity;
         entity = vs_next(entity->next, "entity")) {
        struct value *answer = value_object("EntityPrivilege");
        struct value *list = value_list("PrivilegeAvailability");

        vs_text(entity, moref, sizeof(moref));
        for (xmlNode *wanted = vs_child(call->method, "privId"); wanted;
             wanted = vs_next(wanted->next, "privId")) {
            struct value *one = value_object("PrivilegeAvailability");

            vs_text(wanted, id, sizeof(id));
            value_set(one, "privId", value_string(id));
            value_set(one, "isGranted",
                      value_bool(is_there && !lab_lacks_privilege(call->lab, id)));
            value_add(list, one);
        }
        value_set(answer, "entity", value_ref("VirtualMachine", moref));
        value_set(answer, "privAvailability", list);
        vs_return(call, "EntityPrivilege", answer);
    }
    return 0;
}
