//! Schemas of texts that the domain crates define: their values are taken from there, so they cannot drift.

use std::borrow::Cow;

use domain_kernel::{ApiErrorCode, JobErrorCode};
use jobs::{EventKind, JobKind, JobStatus, StepStatus};
use nodes_domain::{AcquisitionSource, NodeStatus, ReasonCode};
use sites_domain::{
    BackupScope, BackupStatus, BackupTrigger, EnvironmentStatus, EnvironmentType, PromotionPreset, SiteStatus,
};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! text_schemas {
    ($($(#[doc = $doc:literal])* $marker:ident $name:literal = $values:expr;)*) => {$(
        $(#[doc = $doc])*
        pub(crate) struct $marker;

        impl PartialSchema for $marker {
            fn schema() -> RefOr<Schema> {
                let values: Vec<&str> = $values.iter().map(|value| value.as_str()).collect();
                let description = concat!($($doc),*).trim();
                texts(values, description)
            }
        }

        impl ToSchema for $marker {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )*};
}

text_schemas! {
    /// The stable code of a refused request.
    ApiErrorCodeText "ApiErrorCode" = ApiErrorCode::ALL;
    /// The stable code of a failed job.
    JobErrorCodeText "JobErrorCode" = JobErrorCode::ALL;
    /// What a job does.
    JobKindText "JobType" = JobKind::ALL;
    /// Where a job stands.
    JobStatusText "JobStatus" = JobStatus::ALL;
    /// Where a step stands.
    StepStatusText "StepStatus" = StepStatus::ALL;
    /// What an event tells.
    EventKindText "EventKind" = EventKind::ALL;
    /// Where a node stands.
    NodeStatusText "NodeStatus" = NodeStatus::ALL;
    /// Why a node is not ready.
    ReasonCodeText "ReasonCode" = ReasonCode::ALL;
    /// Where a site stands.
    SiteStatusText "SiteStatus" = SiteStatus::ALL;
    /// Where an environment stands.
    EnvironmentStatusText "EnvironmentStatus" = EnvironmentStatus::ALL;
    /// What an environment is for.
    EnvironmentTypeText "EnvironmentType" = EnvironmentType::ALL;
    /// What a copy is for.
    CopyTypeText "CopyType" = [EnvironmentType::Staging, EnvironmentType::Clone];
    /// What a promotion of an environment leaves as it is in production.
    PromotionPresetText "PromotionPreset" = PromotionPreset::ALL;
    /// What a backup holds.
    BackupScopeText "BackupScope" = BackupScope::ALL;
    /// Where a backup stands.
    BackupStatusText "BackupStatus" = BackupStatus::ALL;
    /// Who wanted a backup.
    BackupTriggerText "BackupTrigger" = BackupTrigger::ALL;
    /// Where a node comes from: a machine that the local provider makes, or a host of the operator's.
    AcquisitionSourceText "AcquisitionSource" = [AcquisitionSource::Local, AcquisitionSource::Remote];
}

fn texts(values: Vec<&str>, description: &str) -> RefOr<Schema> {
    let schema = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(values))
        .description(Some(description));
    RefOr::T(Schema::Object(schema.build()))
}
