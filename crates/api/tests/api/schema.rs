//! Says whether a value is what a schema of the OpenAPI document tells. A keyword that it does not know is an error, so
//! that nothing is passed over in silence. Stricter than JSON Schema in one thing: a property that is not listed is wrong
//! even where the schema leaves the object open, because then the document does not tell of it.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The OpenAPI document.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| json!(api::openapi()));

/// Keywords that say nothing of the value.
const NOTES: [&str; 5] = ["description", "example", "examples", "title", "default"];

pub(crate) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let schema = schema.as_object().ok_or("a schema is an object")?;
    for (keyword, rule) in schema {
        keep(schema, keyword, rule, value).map_err(|why| format!("{keyword}: {why} in {value}"))?;
    }
    Ok(())
}

/// What a `$ref` stands for.
pub(crate) fn resolve(reference: &Value) -> &'static Value {
    let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
    DOCUMENT
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn keep(schema: &Map<String, Value>, keyword: &str, rule: &Value, value: &Value) -> Result<(), String> {
    let holds = match keyword {
        "$ref" => return check(resolve(rule), value),
        "type" => types(rule).iter().any(|name| is_a(name, value)),
        "enum" => rule.as_array().unwrap().contains(value),
        "oneOf" => {
            let results: Vec<_> = rule
                .as_array()
                .unwrap()
                .iter()
                .map(|schema| check(schema, value))
                .collect();
            if results.iter().filter(|result| result.is_ok()).count() == 1 {
                return Ok(());
            }
            return Err(format!("not one: {results:?}"));
        }
        "required" => rule
            .as_array()
            .unwrap()
            .iter()
            .all(|name| value.get(name.as_str().unwrap()).is_some()),
        "properties" => return properties(schema, rule, value),
        "additionalProperties" => rule.is_boolean(),
        "items" => {
            return value
                .as_array()
                .into_iter()
                .flatten()
                .try_for_each(|item| check(rule, item));
        }
        "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().unwrap()),
        "minLength" => value
            .as_str()
            .is_none_or(|text| text.chars().count() >= rule.as_u64().unwrap() as usize),
        "maxLength" => value
            .as_str()
            .is_none_or(|text| text.chars().count() <= rule.as_u64().unwrap() as usize),
        "format" => {
            return value
                .as_str()
                .map_or(Ok(()), |text| format(rule.as_str().unwrap(), text));
        }
        note if NOTES.contains(&note) => true,
        unknown => return Err(format!("this check does not know {unknown}")),
    };
    if holds { Ok(()) } else { Err(format!("not {rule}")) }
}

fn types(rule: &Value) -> Vec<&str> {
    match rule {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("this check does not know the type {other}"),
    }
}

fn properties(schema: &Map<String, Value>, rule: &Value, value: &Value) -> Result<(), String> {
    let is_open = schema.get("additionalProperties") == Some(&json!(true));
    for (name, value) in value.as_object().into_iter().flatten() {
        match rule.get(name) {
            Some(schema) => check(schema, value).map_err(|why| format!("`{name}`: {why}"))?,
            None if is_open => {}
            None => return Err(format!("`{name}` is not told of")),
        }
    }
    Ok(())
}

fn format(name: &str, text: &str) -> Result<(), String> {
    let holds = match name {
        "uuid" => text.parse::<domain_kernel::NodeId>().is_ok(),
        "date-time" => domain_kernel::Timestamp::parse(text).is_ok() && text.ends_with('Z'),
        "password" => true,
        other => panic!("this check does not know the format {other}"),
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{text} is no {name}"))
    }
}

#[test]
fn a_wrong_value_is_found() {
    let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 1}}});
    assert!(check(&schema, &json!({"a": 1})).is_ok());
    for wrong in [
        json!({}),
        json!({"a": 0}),
        json!({"a": "1"}),
        json!({"a": 1, "b": 2}),
        json!([]),
    ] {
        assert!(check(&schema, &wrong).is_err(), "{wrong}");
    }
    assert!(check(&json!({"$ref": "#/components/schemas/JobStatus"}), &json!("nope")).is_err());
    assert!(check(&json!({"oddity": 1}), &json!(1)).is_err());
}
