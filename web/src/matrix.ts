/** Small matrices, as rows of numbers. */

export type Matrix = number[][];

/** rows × columns, by what stands at each place. */
export function matrix(rows: number, columns: number, at: (row: number, column: number) => number): Matrix {
  return Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => at(r, c)));
}

export function diagonal(values: readonly number[]): Matrix {
  return matrix(values.length, values.length, (r, c) => (r === c ? values[r] : 0));
}

export function transposed(a: Matrix): Matrix {
  return matrix(a[0].length, a.length, (r, c) => a[c][r]);
}

export function product(a: Matrix, b: Matrix): Matrix {
  return matrix(a.length, b[0].length, (r, c) => a[r].reduce((sum, value, n) => sum + value * b[n][c], 0));
}

export function sum(a: Matrix, b: Matrix): Matrix {
  return matrix(a.length, a[0].length, (r, c) => a[r][c] + b[r][c]);
}

/** turn · a · turnᵀ: what a covariance becomes. */
export function turnedBy(turn: Matrix, a: Matrix): Matrix {
  return product(product(turn, a), transposed(turn));
}

/** rows × rows from row and column `from` on. */
export function block(a: Matrix, from: number, rows: number): Matrix {
  return matrix(rows, rows, (r, c) => a[from + r][from + c]);
}

export function times(a: Matrix, vector: readonly number[]): number[] {
  return a.map((row) => row.reduce((sum, value, n) => sum + value * vector[n], 0));
}

/** The x of a · x = b, by elimination; a: square, and not singular. */
export function solve(a: Matrix, b: Matrix): Matrix {
  const count = a.length;
  const rows = a.map((row, r) => [...row, ...b[r]]);
  for (let n = 0; n < count; n++) {
    let largest = n;
    for (let r = n + 1; r < count; r++) if (Math.abs(rows[r][n]) > Math.abs(rows[largest][n])) largest = r;
    [rows[n], rows[largest]] = [rows[largest], rows[n]];
    for (let r = 0; r < count; r++) {
      if (r === n) continue;
      const share = rows[r][n] / rows[n][n];
      for (let c = n; c < rows[r].length; c++) rows[r][c] -= share * rows[n][c];
    }
  }
  return rows.map((row, r) => row.slice(count).map((value) => value / row[r]));
}

/** The lower triangular L with L · Lᵀ = a; a: symmetric, positive definite. */
export function cholesky(a: Matrix): Matrix {
  const root = a.map((row) => row.map(() => 0));
  for (let r = 0; r < a.length; r++) {
    for (let c = 0; c <= r; c++) {
      let rest = a[r][c];
      for (let n = 0; n < c; n++) rest -= root[r][n] * root[c][n];
      root[r][c] = r === c ? Math.sqrt(rest) : rest / root[c][c];
    }
  }
  return root;
}
