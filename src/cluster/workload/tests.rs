use serde_json::json;

use super::*;

#[test]
fn the_last_writer_is_who_wrote_the_spec_last_other_than_us() {
    let entry = |manager: &str, minute: u8, fields: Value, subresource: &str| {
        json!({
            "manager": manager, "operation": "Update", "subresource": subresource,
            "time": format!("2026-01-01T00:{minute:02}:00Z"),
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    };
    let spec = || json!({ "f:spec": { "f:template": {} } });
    let entries = json!([
        entry("deployer", 1, spec(), ""),
        entry("operator", 2, spec(), ""),
        entry(FIELD_MANAGER, 3, spec(), ""),
        entry(
            "kube-controller-manager",
            4,
            json!({ "f:metadata": { "f:annotations": {} } }),
            ""
        ),
        entry("autoscaler", 5, spec(), "scale"),
    ]);
    let entries: Vec<ManagedFieldsEntry> = serde_json::from_value(entries).unwrap();
    assert_eq!(last_writer(&entries).as_deref(), Some("operator"));
    assert_eq!(last_writer(&[]), None);
}
