// What the handlers keep: one SQLite file, or memory if there is no name.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import initSqlJs from 'sql.js';

const TABLES = `
  CREATE TABLE IF NOT EXISTS apples (color TEXT PRIMARY KEY);
  CREATE TABLE IF NOT EXISTS requests (asker TEXT, asked TEXT, PRIMARY KEY (asker, asked));
  CREATE TABLE IF NOT EXISTS contacts (user TEXT, contact TEXT, PRIMARY KEY (user, contact));
  INSERT OR IGNORE INTO apples VALUES ('golden'), ('pink'), ('russet');
`;

export async function openStore(file) {
  const { Database } = await initSqlJs();
  const database = new Database(file && existsSync(file) ? readFileSync(file) : undefined);

  function rows(sql, values = []) {
    const statement = database.prepare(sql);
    const found = [];
    try {
      statement.bind(values);
      while (statement.step()) found.push(statement.getAsObject());
    } finally {
      statement.free();
    }
    return found;
  }

  // All of it or none, and in the file before anybody hears of it.
  function write(steps) {
    database.run('BEGIN');
    try {
      steps();
      database.run('COMMIT');
    } catch (error) {
      database.run('ROLLBACK');
      throw error;
    }
    if (!file) return;
    writeFileSync(`${file}.new`, database.export());
    renameSync(`${file}.new`, file);
  }

  write(() => database.run(TABLES));

  return {
    apples: () => rows('SELECT color FROM apples ORDER BY color').map(({ color }) => color),

    addRequest(asker, asked) {
      write(() => database.run('INSERT OR IGNORE INTO requests VALUES (?, ?)', [asker, asked]));
    },

    // False: nobody had asked.
    acceptRequest(asker, asked) {
      if (!rows('SELECT 1 FROM requests WHERE asker = ? AND asked = ?', [asker, asked]).length) return false;
      write(() => {
        database.run('DELETE FROM requests WHERE asker = ? AND asked = ?', [asker, asked]);
        database.run('INSERT OR IGNORE INTO contacts VALUES (?1, ?2), (?2, ?1)', [asker, asked]);
      });
      return true;
    },

    contacts: (user) => rows('SELECT contact FROM contacts WHERE user = ? ORDER BY contact', [user])
      .map(({ contact }) => contact),

    close: () => database.close(),
  };
}
