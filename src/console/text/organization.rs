//! The organization area.

texts! {
    /// The organization area.
    Texts {
        overview = "Overview",
        projects = "Projects",
        accounts = "Accounts",
        access_keys = "Access keys",
        audit = "Audit",
        health = "Health",
    }
}
