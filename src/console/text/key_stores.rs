//! Key stores.

texts! {
    /// Key stores.
    Texts {
        title = "Key stores",
        none_title = "No key store yet",
        none_told = "A key store groups confidential data, symmetric keys and asymmetric keys, and says which clients may use them: by IPv4 address, MAC address or client certificate.",
        none_viewer = "An administrator of this project adds the first one.",
        add = "Add Key Store",
        edit = "Edit key store",
        delete = "Delete key store",
        authentication = "Authentication methods",
        authentication_hint = "One or more. A method without entries admits nobody.",
        ipv4 = "IPv4 Address",
        mac = "MAC Address",
        mac_hint = "a claim that any client can make: use it beside another method",
        certificate = "Client Certificate",
        combine = "How they combine",
        all_must_pass = "All must pass",
        any_one_passes = "Any one passes",
        added = "The key store was added.",
        changed = "The key store was changed.",
        deleted = "The key store was deleted.",
    }
}
