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
        wait = "Too many attempts have failed. Try again in this many seconds",
        code_title = "Enter the code",
        code_told = "of your authenticator app, or one of your recovery codes",
        code = "Code",
        code_wrong = "That is not a code that is good now. Each is good once.",
        code_late = "That took too long. Sign in again.",
        start_again = "Sign in with another account",
        signed_out = "You are signed out.",
        ended = "Your session has ended. Sign in to go on.",
    }
}
