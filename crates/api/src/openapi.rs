//! The OpenAPI document: paths and types from the handlers, refusals and security from the table of endpoints.

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain_kernel::ApiErrorCode;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi as _, PartialSchema, ToSchema};

use crate::nodes::CreateNode;
use crate::routes::{Access, Body, ENDPOINTS, Endpoint};
use crate::schema::ApiErrorCodeText;
use crate::sites::{backups, environments};
use crate::{events, jobs, nodes, providers, session, sites, ssh_key, status};

const SCHEME: &str = "session";

/// The document.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Pressluft",
        description = "A self-hosted WordPress control plane. What touches a machine is accepted with 202 and done by a job. Every \
                       error is `{code, message, details?}`. Times are RFC 3339 in UTC. Unknown fields of requests are refused.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(
        session::login, session::logout, session::show,
        nodes::list, nodes::create, nodes::show, nodes::delete, nodes::provision, nodes::check,
        nodes::pin_host_key,
        sites::list, sites::create, sites::show, sites::delete, sites::reset,
        environments::list, environments::create, environments::show, environments::delete, environments::reset,
        environments::wordpress_version, environments::wordpress_login,
        backups::list, backups::create, backups::show, backups::delete, backups::set_schedule, backups::restore,
        ssh_key::show, providers::list,
        jobs::list, jobs::show, jobs::cancel, jobs::retry,
        events::list, events::of_job,
        status::metrics, status::prometheus, status::alive, status::ready,
    ),
    components(schemas(ErrorSchema, ApiErrorCodeText)),
    tags(
        (name = "session", description = "Logging in and out"),
        (name = "nodes", description = "Machines that sites live on"),
        (name = "sites", description = "WordPress on nodes: sites and their environments"),
        (name = "backups", description = "Backups of environments, and restores"),
        (name = "jobs", description = "What is being done, and what happens meanwhile"),
        (name = "status", description = "How the server is"),
    ),
    modifiers(&FromTable)
)]
struct Document;

/// The OpenAPI document of this version.
pub fn openapi() -> OpenApi {
    Document::openapi()
}

/// The schema of every error.
pub(crate) struct ErrorSchema;

impl PartialSchema for ErrorSchema {
    fn schema() -> RefOr<Schema> {
        let code = RefOr::Ref(Ref::from_schema_name(ApiErrorCodeText::name()));
        RefOr::T(Schema::Object(error_schema(code)))
    }
}

impl ToSchema for ErrorSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Error")
    }
}

/// The schema of every error, its code described by `code`.
pub(crate) fn error_schema(code: RefOr<Schema>) -> Object {
    let text = |description| {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .description(Some(description))
    };
    let details = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some("Values that a program may need."))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)));
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some("A refused request."))
        .property("code", code)
        .property("message", text("What happened, as a sentence for people."))
        .property("details", details)
        .required("code")
        .required("message")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .examples([error_example(ApiErrorCode::NotFound)])
        .build()
}

fn error_example(code: ApiErrorCode) -> serde_json::Value {
    serde_json::json!({"code": code, "message": code.summary()})
}

fn named_example(code: ApiErrorCode) -> (String, RefOr<Example>) {
    let example = ExampleBuilder::new().value(Some(error_example(code))).build();
    (code.to_string(), RefOr::T(example))
}

struct FromTable;

impl Modify for FromTable {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let cookie = ApiKeyValue::with_description(http_session::SESSION_COOKIE, "Set by `POST /api/login`.");
        components.add_security_scheme(SCHEME, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let used = ENDPOINTS.iter().flat_map(refusals);
        let responses: BTreeMap<_, _> = used.map(|code| (code.to_string(), RefOr::T(refusal(code)))).collect();
        components.responses.extend(responses);
        // utoipa has no `additionalProperties` for the variants of an enum, but unknown fields are refused in them too.
        if let Some(RefOr::T(Schema::OneOf(variants))) = components.schemas.get_mut(CreateNode::name().as_ref()) {
            for variant in &mut variants.items {
                if let RefOr::T(Schema::Object(object)) = variant {
                    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
                }
            }
        }
        for endpoint in ENDPOINTS {
            if let Some(operation) = operation(document, endpoint) {
                describe(operation, endpoint);
            }
        }
    }
}

fn operation<'a>(document: &'a mut OpenApi, endpoint: &Endpoint) -> Option<&'a mut Operation> {
    let item: &mut PathItem = document.paths.paths.get_mut(endpoint.path)?;
    match endpoint.method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

fn describe(operation: &mut Operation, endpoint: &Endpoint) {
    let session = || SecurityRequirement::new(SCHEME, Vec::<String>::new());
    operation.security = match endpoint.access {
        Access::Open | Access::Public => Some(Vec::new()),
        Access::Session => Some(vec![session()]),
        Access::SessionOrThisHost => Some(vec![session(), SecurityRequirement::default()]),
    };
    let mut by_status: BTreeMap<u16, Vec<ApiErrorCode>> = BTreeMap::new();
    for code in refusals(endpoint) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let answer = match codes.as_slice() {
            [code] => RefOr::Ref(Ref::from_response_name(code.as_str())),
            several => RefOr::T(one_of(several)),
        };
        operation.responses.responses.insert(status.to_string(), answer);
    }
}

/// The codes with which an endpoint can refuse.
fn refusals(endpoint: &Endpoint) -> Vec<ApiErrorCode> {
    let mut codes = endpoint.errors.to_vec();
    codes.push(ApiErrorCode::Internal);
    if endpoint.access != Access::Open {
        codes.push(ApiErrorCode::Forbidden);
    }
    if endpoint.access == Access::Session {
        codes.push(ApiErrorCode::Unauthorized);
    }
    match endpoint.body {
        Body::Unread => {}
        Body::Empty => codes.extend([ApiErrorCode::BadRequest, ApiErrorCode::PayloadTooLarge]),
        Body::Json => codes.extend([
            ApiErrorCode::BadRequest,
            ApiErrorCode::PayloadTooLarge,
            ApiErrorCode::UnsupportedMediaType,
        ]),
    }
    codes
}

/// The answer of a status that several codes share.
fn one_of(codes: &[ApiErrorCode]) -> Response {
    let meanings: Vec<_> = codes
        .iter()
        .map(|code| format!("`{code}`: {}", code.summary()))
        .collect();
    let mut content = Content::new(Some(RefOr::Ref(Ref::from_schema_name(ErrorSchema::name()))));
    content.examples = codes.iter().map(|code| named_example(*code)).collect();
    ResponseBuilder::new()
        .description(meanings.join(" "))
        .content("application/json", content)
        .build()
}

fn refusal(code: ApiErrorCode) -> Response {
    let schema = RefOr::Ref(Ref::from_schema_name(ErrorSchema::name()));
    let mut content = Content::new(Some(schema));
    content.example = Some(error_example(code));
    ResponseBuilder::new()
        .description(code.summary())
        .content("application/json", content)
        .build()
}
