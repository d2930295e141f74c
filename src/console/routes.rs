//! The console's routes. What is served is what is listed: the test that walks all of them with every role has them from here.

use axum::Router;
use axum::routing::MethodRouter;

use super::Console;

/// Routes, with their paths.
#[derive(Debug, Default)]
pub(super) struct Routes {
    router: Router<Console>,
    paths: Vec<String>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// With the route at `path`, which has the placeholders of axum: `/projects/{project}`.
    pub(super) fn route(mut self, path: &str, methods: MethodRouter<Console>) -> Self {
        self.paths.push(path.to_owned());
        Self { router: self.router.route(path, methods), ..self }
    }

    /// With those of another part of the console.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.paths.extend(other.paths);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// The same, behind what lets only some people on.
    pub(super) fn behind(self, guard: impl FnOnce(Router<Console>) -> Router<Console>) -> Self {
        Self { router: guard(self.router), ..self }
    }

    pub(super) fn into_router(self) -> Router<Console> {
        self.router
    }

    pub(super) fn into_paths(self) -> Vec<String> {
        self.paths
    }
}
