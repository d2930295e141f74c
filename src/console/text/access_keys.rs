//! Access keys of one's own.

texts! {
    /// Access keys of one's own.
    Texts {
        title = "API Security Settings",
        told = "An access key lets a program use the API in your name, with your API roles: by its two headers, or by a token that it gets for them. At most 5.",
        create = "Create User Access Key ID",
        create_button = "Create",
        full = "There are 5 access keys. Delete one to make another.",
        none = "No access key yet",
        none_told = "Programs that only encrypt, decrypt and sign by appkey don't need one.",
        id = "User Access Key ID",
        secret = "Secret Access Key",
        issued = "Completed to Issue Secret Key",
        issued_told = "The secret access key is shown only here. Keep it where your program finds it and nobody else does; who loses it makes another access key.",
        download = "Download",
        token_life = "Token life",
        token_life_seconds = "Token life in seconds",
        token_life_hint = "60 to 86400. Tokens that were issued before keep theirs.",
        seconds = "s",
        created = "Created",
        last_use = "Last use",
        never = "Never",
        enabled = "Enabled",
        disabled = "Disabled",
        edit = "Change token life",
        enable = "Enable",
        disable = "Disable",
        disable_title = "Disable access key",
        disable_told = "Programs that use it are refused at once, and its tokens end for good",
        delete_title = "Delete access key",
        delete_told = "Programs that use it are refused at once. It can't be undone",
        changed = "The token life was changed.",
        was_enabled = "The access key was enabled.",
        was_disabled = "The access key was disabled.",
        deleted = "The access key was deleted.",
    }
}
