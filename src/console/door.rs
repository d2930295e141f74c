//! The two doors to a project's key stores: the same pages, but behind the one a form changes things at once, behind the other it puts the
//! change into the key store's draft. The address says through which somebody came.

use super::page::Tab;
use crate::domain::ids::ProjectId;

/// Through which door somebody comes to key stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Door {
    /// **Key Depository**: where approval is off, changes are made at once; where it is on, nothing is changed.
    #[default]
    Depository,
    /// **Key Store Management**: where approval is on, changes go into drafts; where it is off, there is no such door.
    Management,
}

impl Door {
    /// Its word in addresses.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Depository => "key-stores",
            Self::Management => "management",
        }
    }

    /// The door that a page's path leads through; what leads through none is as if it led to the Key Depository.
    pub(super) fn of(path: &str) -> Self {
        let is_management = path.starts_with("/projects/") && path.split('/').nth(3) == Some(Self::Management.word());
        if is_management { Self::Management } else { Self::Depository }
    }

    /// `/projects/{project}/key-stores`, for routes.
    pub(super) fn route(self, rest: &str) -> String {
        format!("/projects/{{project}}/{}{rest}", self.word())
    }

    /// `/projects/7/key-stores`.
    pub(super) fn stores(self, project: ProjectId) -> String {
        format!("/projects/{project}/{}", self.word())
    }

    /// The tab that its pages are under.
    pub(super) const fn tab(self) -> Tab {
        match self {
            Self::Depository => Tab::KeyDepository,
            Self::Management => Tab::KeyStoreManagement,
        }
    }
}

/// The project that an address is about, as far as it names one.
pub(super) fn project_in(path: &str) -> Option<ProjectId> {
    let below = path.strip_prefix("/organization").unwrap_or(path).strip_prefix("/projects/")?;
    below.split('/').next()?.parse().ok().map(ProjectId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_through_which_door() {
        assert_eq!(Door::of("/projects/7/management/3/ipv4"), Door::Management);
        for path in ["/projects/7/key-stores/3", "/projects/7/members", "/organization/projects/7/management", "/"] {
            assert_eq!(Door::of(path), Door::Depository, "{path}");
        }
        for (path, project) in
            [("/projects/7/key-stores", Some(7)), ("/organization/projects/8/members/new", Some(8)), ("/projects/x", None), ("/account", None)]
        {
            assert_eq!(project_in(path), project.map(ProjectId), "{path}");
        }
    }
}
