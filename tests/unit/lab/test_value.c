/* lab/vsphere/value: the order and the types of the API's schema, whatever order things were set in. */
#include "../check.h"

#include "base/util.h"
#include "vsphere/value.h"

static void
assert_xml(struct value *value, const char *element, const char *declared, const char *expected)
{
    struct str out = STR_INIT(4096);

    value_write(&out, element, declared, value);
    assert_string_equal(str_text(&out), expected);
    str_done(&out);
    value_free(value);
}

static void
fields_are_written_in_the_order_of_the_schema(void **state)
{
    struct value *value = value_object("Description");

    value_set(value, "summary", value_string("b"));
    value_set(value, "label", value_string("a"));
    assert_xml(value, "deviceInfo", "Description",
               "<deviceInfo><label>a</label><summary>b</summary></deviceInfo>");
}

static void
required_field_that_was_not_set_gets_an_empty_value(void **state)
{
    struct value *value = value_object("SharesInfo");

    value_set(value, "level", value_word("SharesLevel", "normal"));
    assert_xml(value, "shares", "SharesInfo",
               "<shares><shares>0</shares><level>normal</level></shares>");
}

static void
type_is_told_where_a_reader_cannot_know_it(void **state)
{
    assert_xml(value_int(5), "val", "anyType", "<val xsi:type=\"xsd:int\">5</val>");
    assert_xml(value_int(5), "key", "int", "<key>5</key>");
    assert_xml(value_word("VirtualMachinePowerState", "poweredOn"), "val", "anyType",
               "<val xsi:type=\"VirtualMachinePowerState\">poweredOn</val>");
    assert_xml(value_ref("Folder", "group-d1"), "obj", "ManagedObjectReference",
               "<obj type=\"Folder\">group-d1</obj>");
    assert_xml(value_ref("Folder", "group-d1"), "val", "anyType",
               "<val type=\"Folder\" xsi:type=\"ManagedObjectReference\">group-d1</val>");
}

static void
list_is_an_array_alone_and_repeats_in_a_field(void **state)
{
    struct value *list = value_list("int"), *strings = value_list("string"), *disk;

    value_add(list, value_int(1));
    value_add(list, value_int(2));
    value_add(strings, value_string("x"));
    assert_xml(strings, "val", "anyType",
               "<val xsi:type=\"ArrayOfString\"><string>x</string></val>");
    disk = value_object("VirtualMachineFileLayoutExDiskUnit");
    value_set(disk, "fileKey", list);
    assert_xml(disk, "chain", "VirtualMachineFileLayoutExDiskUnit",
               "<chain><fileKey>1</fileKey><fileKey>2</fileKey></chain>");
}

static void
text_is_escaped(void **state)
{
    assert_xml(value_string("a<b>&\"c\"\x01"), "name", "string",
               "<name>a&lt;b&gt;&amp;&quot;c&quot;?</name>");
}

static void
path_knows_unset_from_wrong(void **state)
{
    struct value *file = value_object("VirtualMachineFileInfo"), *config;
    bool is_wrong;

    value_set(file, "vmPathName", value_string("[ds1] a/a.vmx"));
    config = value_object("VirtualMachineConfigInfo");
    value_set(config, "files", file);
    assert_non_null(value_at(config, "files.vmPathName", &is_wrong));
    assert_false(is_wrong);
    assert_null(value_at(config, "files.logDirectory", &is_wrong));
    assert_false(is_wrong);
    assert_null(value_at(config, "files.nonsense", &is_wrong));
    assert_true(is_wrong);
    assert_null(value_at(config, "files.vmPathName.deeper", &is_wrong));
    assert_true(is_wrong);
    assert_true(value_schema_has("VirtualMachine", "config.files"));
    assert_false(value_schema_has("VirtualMachine", "konfig"));
    value_free(config);
}

static void
copy_is_independent(void **state)
{
    struct value *value = value_object("Description"), *copy;

    value_set(value, "label", value_string("a"));
    copy = value_copy(value);
    value_free(value);
    assert_xml(copy, "d", "Description", "<d><label>a</label><summary></summary></d>");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_written_in_the_order_of_the_schema),
        cmocka_unit_test(required_field_that_was_not_set_gets_an_empty_value),
        cmocka_unit_test(type_is_told_where_a_reader_cannot_know_it),
        cmocka_unit_test(list_is_an_array_alone_and_repeats_in_a_field),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(path_knows_unset_from_wrong),
        cmocka_unit_test(copy_is_independent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
