//! The files under `contracts/` are those that this version generates, and what they show is true.

use std::path::PathBuf;

use domain_kernel::NodeId;
use serde_json::{Value, json};

use crate::panel::Panel;
use crate::schema::{DOCUMENT, check, resolve};

/// The files of `folder` of the repository that are not as generated. With UPDATE_CONTRACTS they are written first.
fn stale(folder: &str, generated: Vec<(&'static str, String)>) -> Vec<&'static str> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut stale = Vec::new();
    for (name, text) in generated {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_CONTRACTS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            stale.push(name);
        }
    }
    stale
}

#[test]
fn the_contracts_and_pages_in_the_repository_are_the_generated_ones() {
    let stale = [stale("contracts", api::contracts()), stale("docs", api::documents())].concat();
    assert!(
        stale.is_empty(),
        "out of date: {stale:?}. Run `pressluft openapi --write contracts --docs docs` (or this test with UPDATE_CONTRACTS=1) \
         and look at the difference."
    );
}

/// The examples of a schema: its own, those of what it refers to, those of each of its variants.
fn examples(schema: &Value) -> Vec<Value> {
    if let Some(reference) = schema.get("$ref") {
        return examples(resolve(reference));
    }
    if let Some(items) = schema.get("items") {
        return examples(items).into_iter().map(|example| json!([example])).collect();
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        return variants.iter().flat_map(examples).collect();
    }
    let listed = schema["examples"].as_array().into_iter().flatten();
    schema.get("example").into_iter().chain(listed).cloned().collect()
}

fn operations() -> impl Iterator<Item = (&'static String, &'static String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap();
        operations
            .iter()
            .map(move |(method, operation)| (path, method, operation))
    })
}

#[test]
fn every_request_and_response_has_examples_and_each_is_valid() {
    for (path, method, operation) in operations() {
        let request = operation.get("requestBody").into_iter();
        let responses = operation["responses"].as_object().unwrap().values();
        for part in request.chain(responses) {
            let part = part.get("$ref").map_or(part, resolve);
            for (media_type, content) in part["content"].as_object().unwrap() {
                let mut found = examples(&content["schema"]);
                found.extend(content.get("example").cloned());
                let named = content["examples"]
                    .as_object()
                    .into_iter()
                    .flat_map(|named| named.values());
                found.extend(named.map(|named| named["value"].clone()));
                assert!(!found.is_empty(), "{method} {path} has no example of {media_type}");
                for example in found {
                    check(&content["schema"], &example).unwrap_or_else(|why| panic!("{method} {path}: {why}"));
                }
            }
        }
    }
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        for example in examples(schema) {
            check(schema, &example).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
}

#[actix_web::test]
async fn every_example_of_a_request_is_read_by_the_server() {
    let mut read = 0;
    for (path, method, operation) in operations() {
        let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else {
            continue;
        };
        for example in examples(schema) {
            let panel = Panel::new().await;
            // An id that names nothing is found out after the body is read.
            let path = path.replace("{id}", &NodeId::generate().to_string());
            let answer = panel
                .ask(&method.to_uppercase(), &path)
                .json(&example.to_string())
                .send()
                .await;
            let is_read = matches!(answer.status, 200..300) || answer.code() != "bad_request";
            assert!(is_read, "{method} {path}: {answer:?}");
            read += 1;
        }
    }
    assert_eq!(read, 11);
}

#[test]
fn request_bodies_are_closed() {
    for (path, method, operation) in operations() {
        let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else {
            continue;
        };
        let schema = resolve(&schema["$ref"]);
        let variants = schema["oneOf"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![schema.clone()]);
        for variant in variants {
            assert_eq!(variant["additionalProperties"], json!(false), "{method} {path}");
        }
    }
}
