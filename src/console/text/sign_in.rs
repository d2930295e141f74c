//! Signing in.

texts! {
    /// Signing in.
    Texts {
        title = "Sign in",
        told = "with your account on this installation",
        login = "Account",
        password = "Password",
        sign_in = "Sign in",
        wrong = "Account and password don't match, or the account is disabled.",
        signed_out = "You are signed out.",
        ended = "Your session has ended. Sign in to go on.",
    }
}
