//! Starting where the database is not there, or not ours to use: an error that says so, at once.

use monitoring_core::Monitoring;

/// The error and its causes, as a person would be shown them.
async fn refusal(url: &str) -> String {
    let error = Monitoring::builder().database_url(url).start().await.expect_err("it cannot start");
    let mut text = format!("{error:?}\n{error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(feature = "postgres")]
mod on_postgres {
    use std::net::{Ipv4Addr, TcpListener};

    use super::refusal;
    use crate::support::database::Database;

    #[tokio::test]
    async fn a_server_that_is_not_there_is_said_to_be_unavailable() {
        let port = free_port();
        let text = refusal(&format!("postgres://shop:s3cret@127.0.0.1:{port}/shop")).await;
        assert!(text.contains("the database is unavailable"), "{text}");
        assert!(text.contains("refused"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }

    /// With stopped time: whoever waits without end is found out at once.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_not_waited_for_without_end() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!("postgres://shop:s3cret@127.0.0.1:{port}/shop?sslmode=disable");
        let minute = std::time::Duration::from_secs(60);
        let text = tokio::time::timeout(minute, refusal(&url)).await.expect("it gives up");
        assert!(text.contains("the database is unavailable: "), "{text}");
        assert!(text.contains("the server does not answer"), "{text}");
    }

    #[tokio::test]
    async fn a_wrong_password_is_named_and_not_repeated() {
        let Some(database) = Database::postgres().await else { return };
        let text = refusal(&with_user(&database, "monitoring", "s3cret")).await;
        // Where the server trusts everybody there is no wrong password, but the role may be missing.
        assert!(text.contains("authentication failed") || text.contains("does not exist"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[tokio::test]
    async fn a_role_that_may_create_nothing_is_told_what_it_lacks() {
        let Some(database) = Database::postgres().await else { return };
        let role = format!("guest_{:016x}", monitoring_core::random_u64());
        database.execute(format!("CREATE ROLE {role} LOGIN PASSWORD 'guest-s3cret'")).await;
        database.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
        let text = refusal(&with_user(&database, &role, "guest-s3cret")).await;
        database.execute(format!("DROP ROLE {role}")).await;
        assert!(text.contains("permission denied"), "{text}");
        assert!(!text.contains("guest-s3cret"), "{text}");
    }

    #[tokio::test]
    async fn a_database_that_only_reads_is_said_to_do_so() {
        let Some(database) = Database::postgres().await else { return };
        let url = format!("{}&options=-c%20default_transaction_read_only%3Don", database.url());
        let text = refusal(&url).await;
        assert!(text.contains("read-only"), "{text}");
    }

    fn with_user(database: &Database, user: &str, password: &str) -> String {
        let url = database.url();
        let (_, place) = url.split_once('@').expect("the URL names a user");
        format!("postgres://{user}:{password}@{place}")
    }

    fn free_port() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use super::refusal;
    use crate::support::database::Folder;

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_said_to_be_unavailable() {
        let folder = Folder::new();
        let text = refusal(&format!("sqlite://{}/missing/shop.db", folder.path.display())).await;
        assert!(text.contains("unable to open database file"), "{text}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_left_alone() {
        let folder = Folder::new();
        let file = folder.path.join("letter.txt");
        let letter = "Dear reader, this is not a database. ".repeat(40);
        std::fs::write(&file, &letter).unwrap();
        let text = refusal(&format!("sqlite://{}", file.display())).await;
        assert!(text.contains("not a database"), "{text}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), letter);
    }
}
