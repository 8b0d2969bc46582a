//! The tables, the same for both databases: ids and JSON are texts, times are microseconds since 1970 in UTC. Tests
//! compare them with what the migrations make.
#![allow(missing_docs)]

diesel::table! {
    audit (id) {
        id -> BigInt,
        at -> BigInt,
        account_id -> Nullable<Text>,
        action -> Text,
        subject_kind -> Nullable<Text>,
        subject_id -> Nullable<Text>,
        client_address -> Nullable<Text>,
        detail -> Nullable<Text>,
    }
}

diesel::table! {
    accounts (id) {
        id -> Text,
        email -> Text,
        password_hash -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    sessions (token_hash) {
        token_hash -> Text,
        account_id -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    nodes (id) {
        id -> Text,
        short_id -> Text,
        name -> Text,
        source -> Text,
        provider -> Text,
        host_id -> Text,
        status -> Text,
        target -> Nullable<Text>,
        readiness -> Nullable<Text>,
        probe_failures -> Integer,
        last_seen_at -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
        state_version -> BigInt,
        remote -> Nullable<Text>,
    }
}

diesel::table! {
    jobs (id) {
        id -> Text,
        kind -> Text,
        status -> Text,
        node_id -> Nullable<Text>,
        site_id -> Nullable<Text>,
        environment_id -> Nullable<Text>,
        attempt_count -> Integer,
        max_attempts -> Integer,
        run_after -> BigInt,
        claim_epoch -> BigInt,
        locked_at -> Nullable<BigInt>,
        locked_by -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        lost_workers -> Integer,
        cancel_requested -> Bool,
        started_at -> Nullable<BigInt>,
        finished_at -> Nullable<BigInt>,
        error_code -> Nullable<Text>,
        error_detail -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
        requested_by -> Nullable<Text>,
        log_bytes -> BigInt,
        backup_id -> Nullable<Text>,
    }
}

diesel::table! {
    job_steps (job_id, name) {
        job_id -> Text,
        name -> Text,
        ordinal -> Integer,
        status -> Text,
        attempt -> Integer,
        started_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        detail -> Nullable<Text>,
    }
}

diesel::table! {
    job_exclusions (job_id, key) {
        job_id -> Text,
        key -> Text,
        held -> Bool,
    }
}

diesel::table! {
    events (seq) {
        seq -> BigInt,
        job_id -> Nullable<Text>,
        node_id -> Nullable<Text>,
        at -> BigInt,
        kind -> Text,
        data -> Text,
    }
}

diesel::table! {
    idempotency_keys (account_id, key) {
        account_id -> Text,
        key -> Text,
        request_hash -> Text,
        node_id -> Nullable<Text>,
        job_id -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    sites (id) {
        id -> Text,
        short_id -> Text,
        name -> Text,
        slug -> Text,
        status -> Text,
        primary_environment_id -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
        state_version -> BigInt,
    }
}

diesel::table! {
    environments (id) {
        id -> Text,
        short_id -> Text,
        site_id -> Text,
        name -> Text,
        slug -> Text,
        environment_type -> Text,
        status -> Text,
        resting_status -> Text,
        node_id -> Text,
        source_environment_id -> Nullable<Text>,
        promotion_preset -> Nullable<Text>,
        preview_url -> Text,
        wordpress_version -> Nullable<Text>,
        backup_schedule -> Nullable<Text>,
        sealed_secrets -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
        state_version -> BigInt,
        proved_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    backups (id) {
        id -> Text,
        environment_id -> Text,
        site_id -> Text,
        scope -> Text,
        status -> Text,
        trigger -> Text,
        storage_type -> Nullable<Text>,
        storage_path -> Nullable<Text>,
        checksum -> Nullable<Text>,
        size_bytes -> Nullable<BigInt>,
        retention_until -> Nullable<BigInt>,
        job_id -> Text,
        created_at -> BigInt,
        completed_at -> Nullable<BigInt>,
    }
}

diesel::joinable!(sessions -> accounts (account_id));
diesel::allow_tables_to_appear_in_same_query!(
    audit,
    accounts,
    sessions,
    nodes,
    jobs,
    job_steps,
    job_exclusions,
    events,
    idempotency_keys,
    sites,
    environments,
    backups,
);
