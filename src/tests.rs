//! Tests that need the server's own functions beside ours. Behaviour that SQL can show is tested in
//! pg_test/.

#[pgrx::pg_schema]
mod tests {
    use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
    use pgrx::prelude::*;

    use crate::pg::report::SqlState;
    use crate::pg::uuid;

    #[pg_test]
    fn uuid_is_read_as_postgres_reads_it() {
        for text in [
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        ] {
            let cast =
                Spi::get_one_with_args::<pgrx::Uuid>("SELECT $1::text::uuid", &[text.into()])
                    .expect("a uuid that Postgres reads");
            assert_eq!(
                uuid::parse(text),
                cast.map(|uuid| *uuid.as_bytes()),
                "{text}"
            );
        }
    }

    crate::pg::function::sql_function!(
        /// Panics, for the test below.
        pg_auth_jwt_test_panic,
        |_| panic!("a fault of ours")
    );

    #[pg_test]
    fn panic_is_an_error_without_stack_frames() {
        Spi::run(
            "CREATE FUNCTION panics() RETURNS void LANGUAGE c \
             AS '$libdir/pg_auth_jwt', 'pg_auth_jwt_test_panic'; \
             CREATE FUNCTION caught() RETURNS text LANGUAGE plpgsql AS $$ \
             DECLARE detail text; BEGIN PERFORM panics(); EXCEPTION WHEN OTHERS THEN \
             GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL; \
             RETURN SQLSTATE || ' ' || SQLERRM || '|' || detail; END $$",
        )
        .expect("two functions");
        for _ in 0..2 {
            let caught = Spi::get_one::<String>("SELECT caught()").expect("an answer");
            assert_eq!(caught.as_deref(), Some("XX000 a fault of ours|"));
        }
    }

    #[pg_test]
    fn what_postgres_does_not_read_as_uuid_is_none() {
        for text in [
            "",
            "{}",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
            "a0-eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
            " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "ä0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ] {
            assert_eq!(uuid::parse(text), None, "{text}");
            let postgres = PgTryBuilder::new(|| {
                Spi::get_one_with_args::<pgrx::Uuid>("SELECT $1::text::uuid", &[text.into()])
                    .is_ok()
            })
            .catch_when(PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION, |_| {
                false
            })
            .execute();
            assert!(!postgres, "{text}");
        }
    }

    #[pg_test]
    fn sqlstate_is_encoded_as_postgres_encodes_it() {
        for (code, known) in [
            (b"22023", PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE),
            (b"28P01", PgSqlErrorCode::ERRCODE_INVALID_PASSWORD),
            (b"XX000", PgSqlErrorCode::ERRCODE_INTERNAL_ERROR),
        ] {
            assert_eq!(SqlState(code).encoded(), known as i32);
        }
    }

    #[pg_test]
    fn interval_is_as_long_as_postgres_compares_it() {
        for text in [
            "60 s",
            "1 day",
            "1 mon 2 days 00:00:03.000004",
            "10 years",
            "0 s",
        ] {
            let interval =
                Spi::get_one::<pgrx::datum::Interval>(&format!("SELECT interval '{text}'"))
                    .expect("an interval")
                    .expect("not NULL");
            // interval_cmp counts a month as 30 days, so intervals such as 1 month and 30 days are
            // equal.
            let micros = crate::trust::sql::length(&interval).as_micros();
            let equal = Spi::get_one_with_args::<bool>(
                "SELECT interval '1 microsecond' * $1 = $2",
                &[(micros as f64).into(), interval.into()],
            );
            assert_eq!(equal, Ok(Some(true)), "{text}");
        }
    }

    /// The body of `unannounced_statements_are_told_apart`. It announces no statement, so for
    /// Postgres all of them begin when the worker did.
    #[pg_guard]
    #[unsafe(no_mangle)]
    extern "C-unwind" fn pg_auth_jwt_test_worker(_argument: pg_sys::Datum) {
        fn transaction(statement: &str) {
            // SAFETY: what every worker does around a statement (src/test/modules/worker_spi).
            unsafe {
                pg_sys::StartTransactionCommand();
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
                Spi::run(statement).expect("a statement of the worker's");
                pg_sys::PopActiveSnapshot();
                pg_sys::CommitTransactionCommand();
            }
        }
        let jose = include_str!("../pg_test/fixtures/jose.json");

        BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGTERM);
        BackgroundWorker::connect_worker_to_spi(Some("pgrx_tests"), None);
        transaction(&format!(
            "CREATE TABLE worker_saw AS SELECT $jose${jose}$jose$::jsonb AS doc, 0 AS n, NULL AS who;
             CREATE FUNCTION worker_sees() RETURNS text LANGUAGE plpgsql AS
                 'BEGIN RETURN auth.email(); EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END';
             SELECT auth.init(doc -> 'jwks', issuer => doc ->> 'issuer') FROM worker_saw;
             SELECT set_config('pg_auth_jwt.token', doc -> 'tokens' ->> 'bob', false) FROM worker_saw;
             UPDATE auth.jwks SET expires_at = pg_catalog.clock_timestamp() + interval '1 s'"
        ));
        transaction("INSERT INTO worker_saw VALUES (NULL, 1, worker_sees())");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        transaction("INSERT INTO worker_saw VALUES (NULL, 2, worker_sees())");
        transaction("DELETE FROM auth.issuers");
    }

    #[pg_test]
    fn unannounced_statements_are_told_apart() {
        let worker = BackgroundWorkerBuilder::new("pg_auth_jwt test")
            .set_library("pg_auth_jwt")
            .set_function("pg_auth_jwt_test_worker")
            .enable_spi_access()
            // SAFETY: reads a variable of the backend.
            .set_notify_pid(unsafe { pg_sys::MyProcPid })
            .load_dynamic()
            .expect("a background worker");
        worker.wait_for_shutdown().expect("its end");
        let saw = |n: i32| {
            Spi::get_one_with_args::<String>("SELECT who FROM worker_saw WHERE n = $1", &[n.into()])
                .expect("what the worker wrote")
        };
        assert_eq!(saw(1).as_deref(), Some("bob@globex.example"));
        assert_eq!(saw(2).as_deref(), Some("28J03"));
    }
}
