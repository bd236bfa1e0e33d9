import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Plays the Java of docs/clients.md, which is Database.java beside it: see pg_test/lib/lines.py. */
public final class Play {
    static final class ApplicationException extends RuntimeException {
        ApplicationException(String message) {
            super(message);
        }
    }

    final Database database;

    Play(Database database) {
        this.database = database;
    }

    List<String> perform(String[] request) throws SQLException {
        String token = request[1];
        if (request.length == 2) return database.notes(token);
        if (!token.equals("-")) return database.asUser(token, connection -> all(connection, request));
        try (Connection connection = database.pool.getConnection()) {
            return run(connection, request[2]);
        }
    }

    static List<String> all(Connection connection, String[] request) throws SQLException {
        List<String> rows = List.of();
        for (int at = 2; at < request.length; at++) {
            switch (request[at]) {
                case "!" -> throw new ApplicationException("of the application");
                case "?" -> {
                    try (var missing = connection.prepareStatement("SELECT auth.no_such_function(?)")) {
                        missing.setString(1, request[1]);
                        missing.execute();
                    }
                }
                default -> rows = run(connection, request[at]);
            }
        }
        return rows;
    }

    /** The first column of the rows. */
    static List<String> run(Connection connection, String sql) throws SQLException {
        List<String> values = new ArrayList<>();
        try (Statement statement = connection.createStatement()) {
            if (!statement.execute(sql)) return values;
            try (ResultSet rows = statement.getResultSet()) {
                while (rows.next()) values.add(rows.getString(1));
            }
        }
        return values;
    }

    static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_8));
    }

    String line(String[] request) {
        StringBuilder line = new StringBuilder(request[0]);
        try {
            List<String> rows = perform(request);
            line.append("\trows");
            for (String row : rows) line.append('\t').append(hex(row));
        } catch (Exception error) {
            Database.Answer answer = Database.answer(error);
            String code = error instanceof SQLException e ? String.valueOf(e.getSQLState()) : "";
            StringWriter printed = new StringWriter();
            error.printStackTrace(new PrintWriter(printed));
            line.append("\terror\t").append(answer.status());
            for (String text : List.of(answer.log(), code, error.getClass().getSimpleName(), String.valueOf(error.getMessage()), printed.toString())) {
                line.append('\t').append(hex(text));
            }
        }
        return line.toString();
    }

    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://%s:%s/%s?user=%s".formatted(
            System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE"), System.getenv("PGUSER"));
        Play play = new Play(new Database(url));
        ExecutorService threads = Executors.newFixedThreadPool(20);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] request = line.split("\t", -1);
            threads.execute(() -> System.out.println(play.line(request)));
        }
        threads.shutdown();
        play.database.pool.close();
    }
}
