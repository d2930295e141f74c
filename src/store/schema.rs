//! The tables, as both databases have them; `migrations/` makes them, and a test compares the two.

diesel::table! {
    projects (id) {
        id -> BigInt,
        name -> Text,
        last_key_store_number -> BigInt,
        appkey_reads -> Bool,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
    }
}

diesel::table! {
    appkeys (appkey) {
        appkey -> Text,
        project_id -> BigInt,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
    }
}

diesel::table! {
    key_stores (id) {
        id -> BigInt,
        project_id -> BigInt,
        number -> BigInt,
        name -> Text,
        description -> Text,
        ipv4_check -> Bool,
        mac_check -> Bool,
        certificate_check -> Bool,
        check_mode -> Text,
        state -> Text,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
    }
}

diesel::table! {
    keys (id) {
        id -> Text,
        key_store_id -> BigInt,
        kind -> Text,
        name -> Text,
        description -> Text,
        state -> Text,
        current_version -> BigInt,
        rotation_days -> BigInt,
        next_rotation_at -> Nullable<BigInt>,
        deletion_at -> Nullable<BigInt>,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
    }
}

diesel::table! {
    key_versions (key_id, version) {
        key_id -> Text,
        version -> BigInt,
        state -> Text,
        origin -> Text,
        sealed -> Nullable<Binary>,
        deletion_at -> Nullable<BigInt>,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
    }
}

diesel::table! {
    token_objects (object_id) {
        object_id -> Text,
        key_id -> Text,
        version -> BigInt,
        state -> Text,
        node -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        public_key -> Nullable<Binary>,
        created_at -> BigInt,
    }
}

diesel::table! {
    internal_keys (key_id, version) {
        key_id -> Text,
        version -> BigInt,
        purpose -> Text,
        key_store_id -> Nullable<BigInt>,
        state -> Text,
        created_by -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    import_pairs (key_id) {
        key_id -> Text,
        project_id -> BigInt,
        token_hash -> Binary,
        state -> Text,
        expires_at -> BigInt,
        created_by -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    client_rules (id) {
        id -> BigInt,
        key_store_id -> BigInt,
        method -> Text,
        value -> Text,
        fingerprint -> Nullable<Binary>,
        serial -> Nullable<Text>,
        not_after -> Nullable<BigInt>,
        sealed_p12 -> Nullable<Binary>,
        description -> Text,
        state -> Text,
        deletion_at -> Nullable<BigInt>,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
        issuer -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    authorities (version) {
        version -> BigInt,
        key_id -> Text,
        certificate -> Binary,
        crl_number -> BigInt,
        crl_at -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    settings (name) {
        name -> Text,
        value -> Binary,
    }
}

diesel::table! {
    accounts (id) {
        id -> BigInt,
        login -> Text,
        password_hash -> Text,
        must_change_password -> Bool,
        enabled -> Bool,
        administrator -> Bool,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
        sealed_totp -> Nullable<Binary>,
        pending_totp -> Nullable<Binary>,
        totp_step -> BigInt,
    }
}

diesel::table! {
    console_sessions (token_hash) {
        token_hash -> Binary,
        account_id -> BigInt,
        signed_in_at -> BigInt,
        last_seen_at -> BigInt,
        expires_at -> BigInt,
        address -> Text,
        user_agent -> Text,
        awaits_code -> Bool,
    }
}

diesel::table! {
    recovery_codes (account_id, code_hash) {
        account_id -> BigInt,
        code_hash -> Binary,
    }
}

diesel::table! {
    known_browsers (token_hash) {
        token_hash -> Binary,
        account_id -> BigInt,
        network -> Text,
        last_used_at -> BigInt,
    }
}

diesel::table! {
    account_roles (account_id, project_id, role) {
        account_id -> BigInt,
        project_id -> BigInt,
        role -> Text,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
    }
}

diesel::table! {
    access_keys (id) {
        id -> Text,
        account_id -> BigInt,
        secret_hash -> Binary,
        token_life_seconds -> BigInt,
        enabled -> Bool,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
        may_approve -> Bool,
        maker_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    governance (project_id) {
        project_id -> BigInt,
        approval -> Bool,
        expiry_days -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
        emergency_by -> Nullable<Text>,
        emergency_at -> Nullable<BigInt>,
        emergency_reason -> Nullable<Text>,
    }
}

diesel::table! {
    change_requests (id) {
        id -> Text,
        project_id -> BigInt,
        key_store_id -> Nullable<BigInt>,
        new_key_store -> Bool,
        state -> Text,
        requester_id -> BigInt,
        requester -> Text,
        note -> Text,
        digest -> Nullable<Binary>,
        decider_id -> Nullable<BigInt>,
        decider -> Nullable<Text>,
        reason -> Nullable<Text>,
        created_at -> BigInt,
        requested_at -> Nullable<BigInt>,
        decided_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
        expires_at -> BigInt,
        node -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        attempts -> BigInt,
        decider_key -> Nullable<Text>,
        revision -> BigInt,
    }
}

diesel::table! {
    change_items (request_id, position) {
        request_id -> Text,
        position -> BigInt,
        change -> Text,
        base -> Text,
        sealed -> Nullable<Binary>,
        sealed_hash -> Nullable<Binary>,
        object_id -> Nullable<Text>,
        object_key -> Nullable<Text>,
        object_version -> Nullable<BigInt>,
        editor_id -> BigInt,
        editor -> Text,
        edited_at -> BigInt,
        password_hash -> Nullable<Text>,
    }
}

diesel::table! {
    change_editors (request_id, account_id) {
        request_id -> Text,
        account_id -> BigInt,
    }
}

diesel::table! {
    bearer_tokens (token_hash) {
        token_hash -> Binary,
        access_key_id -> Text,
        issued_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    audit_chains (number) {
        number -> BigInt,
        chain -> Text,
        node -> Text,
        started_at -> BigInt,
        signature -> Nullable<Binary>,
        signer -> Nullable<Text>,
        head_sequence -> BigInt,
        head_hash -> Binary,
        head_at -> BigInt,
    }
}

diesel::table! {
    audit_records (position) {
        position -> BigInt,
        previous -> Binary,
        hash -> Binary,
        at -> BigInt,
        request -> Text,
        project_id -> Nullable<BigInt>,
        actor_kind -> Text,
        actor_name -> Text,
        address -> Nullable<Text>,
        mac -> Nullable<Text>,
        certificate -> Nullable<Binary>,
        user_agent -> Nullable<Text>,
        operation -> Text,
        key_store -> Nullable<BigInt>,
        key_id -> Nullable<Text>,
        version -> Nullable<BigInt>,
        result_code -> BigInt,
        detail -> Nullable<Text>,
    }
}

diesel::table! {
    audit_checkpoints (number) {
        number -> BigInt,
        at -> BigInt,
        previous -> Binary,
        digest -> Binary,
        signature -> Binary,
        signer -> Text,
    }
}

diesel::table! {
    audit_checkpoint_heads (checkpoint, chain) {
        checkpoint -> BigInt,
        chain -> Text,
        sequence -> BigInt,
        hash -> Binary,
    }
}

diesel::table! {
    usage (key_id, version, node) {
        key_id -> Text,
        version -> BigInt,
        node -> Text,
        encryptions -> BigInt,
        operations -> BigInt,
        last_access -> BigInt,
    }
}

diesel::table! {
    rule_usage (rule_id, node) {
        rule_id -> BigInt,
        node -> Text,
        last_access -> BigInt,
    }
}

diesel::table! {
    access_key_usage (access_key_id, node) {
        access_key_id -> Text,
        node -> Text,
        last_access -> BigInt,
    }
}

diesel::table! {
    counted_chains (chain) {
        chain -> BigInt,
        sequence -> BigInt,
    }
}

diesel::table! {
    call_counts (project_id, span, slot, operation, result, key_id, node) {
        project_id -> BigInt,
        span -> Text,
        slot -> BigInt,
        operation -> Text,
        result -> Text,
        key_id -> Text,
        node -> Text,
        calls -> BigInt,
    }
}

diesel::table! {
    change_seq (id) {
        id -> BigInt,
        n -> BigInt,
    }
}

diesel::table! {
    change_log (number) {
        number -> BigInt,
        kind -> Text,
        subject -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    notification_recipients (id) {
        id -> BigInt,
        project_id -> Nullable<BigInt>,
        channel -> Text,
        target -> Text,
        events -> Text,
        enabled -> Bool,
        sealed_secret -> Nullable<Binary>,
        dropped -> BigInt,
        created_by -> Text,
        created_at -> BigInt,
        changed_by -> Text,
        changed_at -> BigInt,
    }
}

diesel::table! {
    notification_messages (id) {
        id -> Text,
        recipient_id -> BigInt,
        event -> Text,
        project -> Text,
        facts -> Text,
        happened_at -> BigInt,
        state -> Text,
        attempts -> BigInt,
        due_at -> BigInt,
        node -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        problem -> Nullable<Text>,
        done_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    notification_marks (mark) {
        mark -> Text,
        keep_until -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    projects,
    appkeys,
    key_stores,
    keys,
    key_versions,
    token_objects,
    internal_keys,
    import_pairs,
    client_rules,
    authorities,
    settings,
    accounts,
    console_sessions,
    recovery_codes,
    known_browsers,
    account_roles,
    access_keys,
    governance,
    change_requests,
    change_items,
    change_editors,
    bearer_tokens,
    audit_chains,
    audit_records,
    audit_checkpoints,
    audit_checkpoint_heads,
    usage,
    rule_usage,
    access_key_usage,
    counted_chains,
    call_counts,
    change_seq,
    change_log,
    notification_recipients,
    notification_messages,
    notification_marks
);
